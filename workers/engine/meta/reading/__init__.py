"""Networks that read labelled rows and say what follows for others: learners that have learned to learn."""
