"""Features -> statistics -> metric. Nothing here touches files, parameters or MLflow."""
