import http.client
import io
import json
import socket
import struct

import pytest
from served import TOML, add, ask, serving

from search.dashboard.artifacts import Store
from search.dashboard.security import DRAINED_BYTES, guard
from search.study.opening import open_study
from search.study.spec import load_spec


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_text(TOML)
    study = open_study(load_spec(path), path, create=True)
    add(study, 0.8, 0.9)
    return study


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "toy" / "artifacts")
    store.folder.mkdir()
    return store


@pytest.fixture
def port(study, store):
    with serving(study, store) as port:
        yield port


def knock(environ, **options):
    """Send one request to a guard that has nothing behind it; return the status."""
    statuses = []

    def app(_, start_response):
        start_response("200 OK", [])
        return []

    guarded = guard(app, **{"host": "127.0.0.1", "port": 8080, "writable": False, **options})
    request = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", **environ}
    list(guarded(request, lambda status, _: statuses.append(status)))
    return statuses[0]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{}",
        "127.0.0.1.evil.example:{}",
        "a@127.0.0.1:{}",
        "localhost:x",
        "localhost:1:{}",
        "[::1",
        "::1",
    ],
)
def test_a_foreign_host_is_refused(port, host):
    status, body = ask(port, Host=host.format(port))
    assert status == 403
    assert json.loads(body)["reason"] == (
        f"Host must be this server's own, such as localhost:{port}, or one of --allow-host, got '{host.format(port)}'; "
        "open that address"
    )


def test_a_page_is_refused_in_plain_text(port):
    status, body = ask(port, path="/dashboard", Host="evil.example")
    assert status == 403
    assert body.startswith("Host must be this server's own")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_loopback_names_are_served(port, host):
    assert ask(port, Host=f"{host}:{port}")[0] == 200


@pytest.mark.parametrize("host", ["localhost:9090", "127.0.0.1:1", "[::1]:9090", "localhost"])
def test_a_forwarded_port_is_served_and_its_own_pages_are(port, host):
    assert ask(port, Host=host)[0] == 200
    assert ask(port, Host=host, Origin=f"http://{host}")[0] == 200
    assert ask(port, Host=host, Origin="http://localhost:3000")[0] == 403


def test_the_first_page_leads_on_to_the_forwarded_port(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/", headers={"Host": "localhost:9090"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (302, "http://localhost:9090/dashboard")
    connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"HTTP_HOST": "lab.example"}, "200 OK"),
        ({"HTTP_HOST": "LAB.example:8443", "HTTP_ORIGIN": "https://lab.example:8443"}, "200 OK"),
        ({"HTTP_HOST": "localhost:8080", "HTTP_ORIGIN": "https://lab.example"}, "200 OK"),
        ({"HTTP_HOST": "lab.example", "HTTP_ORIGIN": "https://evil.example"}, "403 Forbidden"),
        ({"HTTP_HOST": "lab.example.evil.example"}, "403 Forbidden"),
        ({"HTTP_HOST": "lab.example", "HTTP_ORIGIN": "file://lab.example"}, "403 Forbidden"),
    ],
)
def test_a_name_that_is_allowed_is_served_with_any_port_and_by_https(headers, status):
    assert knock(headers, allow_hosts=["Lab.example"]) == status


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{}", "http://localhost:1"]
)
def test_a_foreign_origin_is_refused(port, origin):
    status, body = ask(port, Origin=origin.format(port))
    assert status == 403
    assert json.loads(body)["reason"].startswith("Origin must be this server's own")


def test_a_foreign_origin_cannot_delete_where_writing_is_allowed(study, store):
    with serving(study, store, writable=True) as port:
        assert ask(port, "DELETE", "/api/studies/1", Origin="http://evil.example")[0] == 403
        assert len(json.loads(ask(port)[1])["study_summaries"]) == 1


def test_the_pages_own_origin_is_served(port):
    assert ask(port, Origin=f"http://localhost:{port}")[0] == 200


def test_deleting_is_refused_unless_writable(port):
    status, body = ask(port, "DELETE", "/api/studies/1")
    assert len(json.loads(ask(port)[1])["study_summaries"]) == 1
    assert status == 405
    assert json.loads(body)["reason"] == (
        "only GET, HEAD are answered, got DELETE; start search.dashboard with --writable to change studies"
    )


def test_deleting_passes_when_writable(study, store):
    with serving(study, store, writable=True) as port:
        assert ask(port, "DELETE", "/api/studies/1", **{"Content-Type": "application/json"})[0] == 204
        assert json.loads(ask(port)[1])["study_summaries"] == []


@pytest.mark.parametrize("writable", [False, True])
def test_options_is_always_refused(writable):
    request = {"REQUEST_METHOD": "OPTIONS", "HTTP_HOST": "localhost:8080"}
    assert knock(request, writable=writable) == "405 Method Not Allowed"


def test_port_80_is_left_out_of_the_host():
    assert knock({"HTTP_HOST": "localhost"}, port=80) == "200 OK"


def test_a_request_without_host_is_refused():
    assert knock({}) == "403 Forbidden"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("192.168.1.5:8080", "200 OK"),
        ("[fe80::1]:8080", "200 OK"),
        ("evil.example:8080", "403 Forbidden"),
        ("192.168.1.5:9090", "200 OK"),
        ("192.168.1.5.evil.example:8080", "403 Forbidden"),
    ],
)
def test_on_all_addresses_each_address_is_served_and_no_name(host, status):
    assert knock({"HTTP_HOST": host}, host="0.0.0.0") == status


def test_another_machines_address_is_refused_on_loopback():
    assert knock({"HTTP_HOST": "192.168.1.5:8080"}) == "403 Forbidden"


@pytest.mark.parametrize(
    "host",
    ["localhost:", "localhost:08080", "localhost.:8080", "localhost:8080:8080", ":8080", "", "::1:8080",
     "localhost:8080,evil.example", "evil.example,localhost:8080", "localhost:8080@evil.example", "localhost:8080/",
     "127.1:8080", "2130706433:8080", "0.0.0.0:8080", "[::ffff:127.0.0.1]:8080", "\u017flocalhost:8080", "localhost:\uff18\uff10\uff18\uff10"],
)  # fmt: skip
def test_what_only_looks_like_this_server_is_refused(host):
    assert knock({"HTTP_HOST": host}) == "403 Forbidden"


def test_the_address_that_was_asked_for_is_served():
    assert knock({"HTTP_HOST": "[::1]:8080"}, host="::1") == "200 OK"


def send(port, text):
    """Send a request as it stands, which no client would; return the answer's first line."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(text.format(port=port).replace("\n", "\r\n").encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.partition(b"\r\n")[0].decode()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET /api/studies HTTP/1.1\nHost: localhost:{port}\n\n", "200"),
        ("GET /api/studies HTTP/1.1\nHost: localhost:{port}\nHost: evil.example\n\n", "403"),
        ("GET /api/studies HTTP/1.1\nHost: evil.example\nHost: localhost:{port}\n\n", "403"),
        ("GET http://localhost:{port}/api/studies HTTP/1.1\nHost: evil.example\n\n", "403"),
        ("GET http://evil.example/api/studies HTTP/1.1\nHost: localhost:{port}\n\n", "400"),
        ("GET /api/studies\n\n", "Host must be this server's own"),  # as of 1991: no status line
        ("DELETE /api/studies/1 HTTP/1.0\nHost: localhost:{port}\n\n", "405"),
        ("BREW / HTTP/1.1\nHost: localhost:{port}\n\n", "405"),
        ("OPTIONS * HTTP/1.1\nHost: localhost:{port}\n\n", "405"),
        ("GET /artifacts/1/..%2f..%2fstudy.db HTTP/1.1\nHost: localhost:{port}\n\n", "404"),
        ("GET /artifacts/1/../../study.db HTTP/1.1\nHost: localhost:{port}\n\n", "404"),
        (
            "GET /static/..%2f..%2f__init__.py HTTP/1.1\nHost: localhost:{port}\nAccept-Encoding: br\n\n",
            "403",
        ),
        ("GET /static//etc/passwd HTTP/1.1\nHost: localhost:{port}\nAccept-Encoding: br\n\n", "404"),
    ],
)
def test_a_request_as_no_browser_writes_it_is_answered_with(port, text, status):
    assert status in send(port, text)


def test_a_client_that_hangs_up_in_the_middle_is_no_news(port, capfd):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET /api/stu")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    assert ask(port)[0] == 200
    assert capfd.readouterr().err == ""


def test_a_redirect_leads_to_this_server_whatever_a_proxy_says(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/", headers={"X-Forwarded-Host": "evil.example"})
    answer = connection.getresponse()
    connection.close()
    assert (answer.status, answer.headers["Location"]) == (302, f"http://127.0.0.1:{port}/dashboard")


def test_a_refused_body_is_read_so_that_the_reason_arrives(port):
    status, body = ask(port, "PUT", "/api/studies/1/note", body=b"x" * (DRAINED_BYTES // 2))
    assert status == 405
    assert "--writable" in json.loads(body)["reason"]


def test_a_refused_body_without_end_is_not_read_to_its_end():
    body = io.BytesIO(b"x" * (2 * DRAINED_BYTES))
    request = {"REQUEST_METHOD": "POST", "HTTP_HOST": "localhost:8080", "CONTENT_LENGTH": str(10**15)}
    assert knock({**request, "wsgi.input": body}) == "405 Method Not Allowed"
    assert body.tell() == DRAINED_BYTES


@pytest.mark.parametrize("length", ["-1", "many", "", "²"])
def test_a_body_of_no_length_is_not_read(length):
    request = {"REQUEST_METHOD": "POST", "HTTP_HOST": "localhost:8080", "CONTENT_LENGTH": length}
    assert knock(request) == "405 Method Not Allowed"


def test_a_huge_body_is_refused_where_writing_is_allowed(study, store):
    text = (
        "POST /api/studies HTTP/1.1\nHost: localhost:{port}\nContent-Type: application/json\n"
        "Content-Length: 1000000000000\n\n"
    )
    with serving(study, store, writable=True) as port:
        assert send(port, text).split()[1] in ("413", "500")


def answered(kind, path="/artifacts/1/2f", **extra):
    """Return the headers with which a guard hands on an answer of a kind."""
    found = {}

    def app(_, start_response):
        start_response("200 OK", [("Content-Type", kind), *extra.items()])
        return []

    environ = {"HTTP_HOST": "localhost:8080", "REQUEST_METHOD": "GET", "PATH_INFO": path}
    guarded = guard(app, host="127.0.0.1", port=8080, writable=False)
    list(guarded(environ, lambda _, headers: found.update(headers)))
    return found


def test_artifacts_are_not_open_to_other_origins():
    headers = answered("image/png", **{"Access-Control-Allow-Origin": "*"})
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "kind", ["image/svg+xml", "application/xhtml+xml", "text/xml", "image/png", "text/plain"]
)
def test_artifacts_run_no_scripts(kind):
    policy = answered(kind)["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script" not in policy


@pytest.mark.parametrize("kind", ["text/html", "Text/HTML; charset=utf-8"])
def test_a_pages_scripts_run_in_an_origin_of_their_own_and_reach_nothing(kind):
    policy = answered(kind)["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy


@pytest.mark.parametrize("path", ["/dashboard", "/api/studies", "/artifacts/1/2f"])
def test_no_answer_is_framed_or_guessed_at(path):
    headers = answered("text/html", path=path)
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_dashboards_own_policy_stays(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/dashboard", headers={"Host": f"localhost:{port}"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "DENY"
