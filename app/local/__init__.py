"""PostgreSQL, Valkey and every role of the service on one machine: what `warmstart up` runs."""
