"""Tests that every loader and every engine inherits: subclass a contract and name the part (test_loading_dali.py)."""

import pytest

pytest.register_assert_rewrite("contracts.engine", "contracts.loader")
