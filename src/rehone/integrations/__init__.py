"""Let orchestrators call Rehone (prefect, airflow, kubeflow), and tell trackers of its runs (mlflow, wandb)."""
