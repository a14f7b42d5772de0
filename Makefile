# Everything a newcomer runs. Both targets set up what they need and can be run twice.
VENV ?= .venv
OUT ?= demo
# Test processes: more than cores, since many of the tests wait for Slurm or for processes of their own.
WORKERS ?= 4

.PHONY: demo test test-slurm test-long faults docs lint clean

demo:  ## the whole chain on a simulated survey and real galaxies; ends by printing the report's path
	@containers/environment.sh demo $(VENV)
	@$(VENV)/bin/astrossl demo --out $(OUT)

test: lint  ## lint and every test; builds the Horovod wheel and brings Slurm the first time
	@tests/slurm/install.sh
	@$(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal

test-slurm:  ## the tests on a real Slurm alone; SLURM=/path takes the installation there (its bin and sbin)
	@containers/environment.sh test $(VENV)
	@[ -n "$(SLURM)" ] || tests/slurm/install.sh
	@SLURM=$(SLURM) $(VENV)/bin/python -m pytest -m "slurm and not long"

test-long:  ## what waits minutes for real time limits on Slurm
	@containers/environment.sh test $(VENV)
	@tests/slurm/install.sh
	@$(VENV)/bin/python -m pytest -m long

faults:  ## kill, fill, collide and fuzz, some tens of minutes: docs/reliability.md
	@containers/environment.sh test $(VENV)
	@$(VENV)/bin/python tests/faults/run.py
	@$(VENV)/bin/python tests/faults/silent.py
	@FUZZ_EXAMPLES=1000 $(VENV)/bin/python -m pytest tests/faults/test_fuzz.py

docs:  ## the documentation as a site with search: site/index.html
	@[ -x $(VENV)-docs/bin/mkdocs ] || { python3 -m venv $(VENV)-docs && $(VENV)-docs/bin/pip install --quiet mkdocs==1.6.1; }
	@$(VENV)-docs/bin/mkdocs build --strict --quiet
	@echo "site/index.html"

lint:
	@containers/environment.sh test $(VENV)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

clean:
	rm -rf $(VENV) $(VENV)-docs demo site
