"""Write what runs were as Prometheus metrics: to a textfile, or to a Pushgateway."""
