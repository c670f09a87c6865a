"""A DAG of Airflow: put back what was left, check the fleet, and measure it, every night.

For the DAG folder of a worker that has the clone in /srv/kvmlab and ssh access to the hosts.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow import DAG
from airflow.operators.bash import BashOperator

CLONE = "/srv/kvmlab"

with DAG(
    dag_id="kvmlab_fleet",
    schedule="30 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"cwd": CLONE, "retries": 0, "execution_timeout": timedelta(hours=4)},
):
    # A killed run of last night is put back first; exit code 4 asks for a person.
    restore = BashOperator(
        task_id="restore", bash_command="./lab fleet restore --inventory hosts.yaml"
    )
    doctor = BashOperator(
        task_id="doctor",
        bash_command="./lab fleet doctor --inventory hosts.yaml",
        skip_on_exit_code=3,
    )
    measure = BashOperator(
        task_id="measure",
        bash_command="./lab fleet run 02 --inventory hosts.yaml --yes --out fleet/{{ ds }}",
        trigger_rule="all_done",
    )
    restore >> doctor >> measure
