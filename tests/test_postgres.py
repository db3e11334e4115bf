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
