"""Optuna's own conformance suite over our storage."""

import shutil

import pytest
from optuna.testing.pytest_storages import StorageTestCase

from search.storage.database import Database

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def new_sqlite_file(tmp_path_factory):
    """A database with tables: making them takes half a second."""
    path = tmp_path_factory.mktemp("template") / "new.db"
    Database(f"sqlite:///{path}").engine.dispose()
    return path


@pytest.fixture(scope="module")
def new_postgres_database(postgres_server):
    """A database with tables, from which others are made."""
    name = postgres_server.create_database()
    Database(postgres_server.url(name)).engine.dispose()
    return name


class TestSQLite(StorageTestCase):
    @pytest.fixture
    def storage(self, new_sqlite_file, tmp_path):
        shutil.copy(new_sqlite_file, tmp_path / "study.db")
        return Database(f"sqlite:///{tmp_path / 'study.db'}")


class TestPostgreSQL(StorageTestCase):
    @pytest.fixture
    def storage(self, new_postgres_database, postgres_server):
        return Database(postgres_server.url(postgres_server.create_database(new_postgres_database)))
