"""The engine: tables in, trained models out. Pure: it imports neither the service, nor Celery, nor a database."""
