"""What runs and watches the pipeline in production: the webserver, its health, how runs are launched."""
