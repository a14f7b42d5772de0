"""What a user can write down: frozen dataclasses for runs, preprocessing recipes, experiments and sites."""
