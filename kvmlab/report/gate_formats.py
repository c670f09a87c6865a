"""A gate's outcome for other programs: JUnit XML for a CI server, text for Prometheus."""

from __future__ import annotations

from lxml import etree

from kvmlab.results.gate import GateReport


def junit_xml(report: GateReport) -> str:
    """Return the outcome as JUnit XML: a test case for each metric, a suite for each scheme.

    What is not decided is skipped, with the reason; a missing scheme is an error.
    """
    root = etree.Element(
        "testsuites",
        name=f"{report.comparison.current.name} against {report.comparison.baseline.name}",
        tests=str(len(report.checks) + len(report.missing)),
        failures=str(len(report.failed)),
        errors=str(len(report.missing)),
    )
    for scheme in dict.fromkeys((check.notebook, check.scheme) for check in report.checks):
        checks = [c for c in report.checks if (c.notebook, c.scheme) == scheme]
        suite = etree.SubElement(
            root,
            "testsuite",
            name=".".join(filter(None, scheme)),
            tests=str(len(checks)),
            failures=str(sum(check.verdict == "failed" for check in checks)),
            skipped=str(sum(check.verdict == "not decided" for check in checks)),
        )
        for check in checks:
            case = etree.SubElement(
                suite, "testcase", classname=f"kvmlab.{check.scheme}", name=check.name
            )
            if check.verdict == "failed":
                text = f"worse by more than {report.tolerance_percent:g} %"
                etree.SubElement(case, "failure", message=text).text = str(check)
            elif check.verdict == "not decided":
                etree.SubElement(case, "skipped", message=str(check))
    if report.missing:
        suite = etree.SubElement(root, "testsuite", name="schemes", tests=str(len(report.missing)))
        for name in report.missing:
            case = etree.SubElement(suite, "testcase", classname="kvmlab", name=name)
            etree.SubElement(case, "error", message="the current run did not measure this scheme")
    document: bytes = etree.tostring(
        root, xml_declaration=True, encoding="UTF-8", pretty_print=True
    )
    return document.decode()


def openmetrics_text(report: GateReport) -> str:
    """Return the current run's medians and the gate's outcome in the OpenMetrics text format.

    The textfile collector of node_exporter reads it as well, from a file that ends in ``.prom``.
    """
    from prometheus_client import CollectorRegistry, Gauge
    from prometheus_client.openmetrics.exposition import generate_latest

    registry = CollectorRegistry()
    labels = ("scheme", "metric", "workload", "unit")
    median = Gauge("kvmlab_median", "Median of the current run.", labels, registry=registry)
    ratio = Gauge(
        "kvmlab_worse_ratio",
        "Change for the worse against the baseline: 0.05 is 5 % worse.",
        labels,
        registry=registry,
    )
    failed = Gauge("kvmlab_gate_failed", "1 where the metric failed.", labels, registry=registry)
    for check in report.checks:
        one = check.comparison
        values = (check.scheme, one.metric, one.workload or "", one.unit)
        median.labels(*values).set(one.current.median)
        ratio.labels(*values).set(check.worse_percent / 100)
        failed.labels(*values).set(check.verdict == "failed")
    passed = Gauge("kvmlab_gate_passed", "1 where the gate passed.", registry=registry)
    passed.set(report.passed)
    text: bytes = generate_latest(registry)
    return text.decode()
