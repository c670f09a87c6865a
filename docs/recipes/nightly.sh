#!/bin/sh
# One night's run, compared with a fixed baseline; its figures go to node_exporter's textfile collector.
#
# Cron runs it (crontab -e; its mail is what the gate prints, and it prints nothing else):
#   30 2 * * * /srv/kvmlab/docs/recipes/nightly.sh
# Once, for the baseline: ./lab run 02 --out runs/baseline
#
# KVMLAB is the clone, NOTEBOOK what runs, TEXTFILES the directory that node_exporter reads
# (--collector.textfile.directory). Ends with the gate's code: 1 where something is worse.
set -eu
cd "${KVMLAB:-/srv/kvmlab}"
night=$(date +%Y-%m-%d-%H%M%S)
./lab run "${NOTEBOOK:-02}" --out "runs/$night" >"/tmp/kvmlab-$night.log" 2>&1 || {
    code=$?
    tail -n 20 "/tmp/kvmlab-$night.log"
    exit "$code"
}
rm -f "/tmp/kvmlab-$night.log"
./lab gate baseline "$night" --tolerance 5 --metric 'tcp_*' --metric rtt_p50_us \
    --openmetrics "${TEXTFILES:-/var/lib/prometheus/node-exporter}/kvmlab.prom"
