"""From a recipe to finished runs: the grid (pure), tasks, executors (the door to submitit), the ledger, the status."""
