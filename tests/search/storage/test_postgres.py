import threading
import time

import psycopg
import pytest


def rows(server, database):
    with server.connect(database) as connection:
        return connection.execute("SELECT number FROM kept ORDER BY number").fetchall()


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_server_comes_back_with_its_data_on_its_port(postgres_server, end):
    database = postgres_server.create_database()
    with postgres_server.connect(database) as connection:
        connection.execute("CREATE TABLE kept (number INT)")
        connection.execute("INSERT INTO kept VALUES (1)")
    port = postgres_server.port
    getattr(postgres_server, end)()
    with pytest.raises(psycopg.OperationalError), postgres_server.connect(database):
        pass
    postgres_server.start()
    assert postgres_server.port == port
    assert rows(postgres_server, database) == [(1,)]


def test_databases_are_separate(postgres_server):
    first, second = postgres_server.create_database(), postgres_server.create_database()
    with postgres_server.connect(first) as connection:
        connection.execute("CREATE TABLE kept (number INT)")
    with pytest.raises(psycopg.errors.UndefinedTable):
        rows(postgres_server, second)


@pytest.mark.slow
def test_server_outlives_the_thread_that_starts_it(postgres_server):
    postgres_server.stop()
    thread = threading.Thread(target=postgres_server.start)
    thread.start()
    thread.join()
    time.sleep(0.5)
    with postgres_server.connect("postgres") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
