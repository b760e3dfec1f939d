"""Who may ask the page, and what it must never hand out or take in."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from aih_builder.shards.flags import read_flags
from tests.shards.planting import contents
from tests.viewer.built_pages import SECRET

pytest.importorskip("gradio")
from fastapi.testclient import TestClient

# Who may ask.


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "127.0.0.1", "LOCALHOST:80"])
def test_this_machine_s_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/data/sample/0", headers={"host": host}).status_code == 200
    assert client.get("/data/sample/0", headers={"host": host, "origin": f"http://{host}"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example:7860", "0.0.0.0:7860",
     "[", "[::2]", "", " ", "10.0.0.1:7860", "127.0.0.1@evil.example", "[x]:1"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/data/sample/0", "/config", "/gradio_api/queue/data", "/theme.css"])
def test_a_name_that_somebody_else_gave_this_machine_is_refused(client: TestClient, host: str, path: str) -> None:
    reply = client.get(path, headers={"host": host})
    assert reply.status_code == 403
    assert "localhost alone" in reply.json()["error"]


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://127.0.0.1:9999", "http://localhost:7860", "file://", "http://[",
     "http://127.0.0.1:7860.evil.example", "http://evil@127.0.0.1:7860"],
)  # fmt: skip
def test_another_site_s_page_can_neither_flag_nor_read(client: TestClient, folder: Path, origin: str) -> None:
    for method, path, body in (
        ("PUT", "/data/flag/0", {"reason": "dark"}), ("DELETE", "/data/flag/0", None), ("GET", "/data/sample/0", None),
        ("POST", "/gradio_api/queue/join", {}), ("OPTIONS", "/data/flag/0", None),
    ):  # fmt: skip
        reply = client.request(method, path, json=body, headers={"origin": origin})
        assert (reply.status_code, "access-control-allow-origin" in reply.headers) == (403, False)
    assert read_flags(folder) == {}


def test_another_site_s_page_may_lead_here_and_not_show_what_is_here(client: TestClient) -> None:
    for dest, status in (("document", 200), ("image", 403), ("iframe", 403), ("script", 403), ("empty", 403)):
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-dest": dest}
        assert client.get("/data/picture/0/image", headers=headers).status_code == status
        assert client.get("/data/picture/0/image", headers=headers | {"sec-fetch-site": "same-origin"}).is_success
        assert client.get("/", headers=headers | {"sec-fetch-site": "none"}).is_success


# What is not a part of the page.


def attempts(folder: Path) -> Iterator[str]:
    """Addresses of files beside the page, in every way that a server may have been made to hand them out."""
    ups = ("..%2f", "../", "%2e%2e/", "%2e%2e%2f", "..%5c", "..%252f", "....//", "..;/", "%c0%ae%c0%ae/")
    places = ("data/picture/0", "data/thumb/0", "data/archive", "data/hands", "static", "assets", "svelte")
    targets = ("secret.txt", "dataset/secret.txt", "plan.json", "etc/passwd")
    for up in ups:
        for depth in (1, 2, 8):
            for target in targets:
                for place in places:
                    yield f"/{place}/{up * depth}{target}"
    absolute = [folder / "secret.txt", folder.parent / "secret.txt", folder / "plan.json", Path("/etc/passwd")]
    for path in absolute:
        text, dots = str(path), os.path.relpath(path)
        for route in ("gradio_api/file=", "file=", "gradio_api/file/", "file/", "gradio_api/proxy=", "proxy=",
                      "gradio%5fapi/file=", "//gradio_api/file=", "gradio_api//file=", "gradio_api/file=file://",
                      "static/", "static//", "svelte/", "assets/", "gradio_api/custom_component/1/client/component/",
                      "gradio_api/stream/a/b/1/", "queue/data/../../file="):  # fmt: skip
            yield f"/{route}{text}"
            yield f"/{route}{dots}"
            yield f"/{route}{quote(text, safe='')}"
    yield from ("/gradio_api/proxy=http://example.com/", "/gradio_api/file=http://example.com/")


def test_no_address_leads_to_a_file(client: TestClient, folder: Path) -> None:
    tried = list(dict.fromkeys(attempts(folder)))
    assert len(tried) > 500
    for address in tried:
        reply = client.get(address)
        assert reply.status_code in (307, 400, 403, 404, 405, 422), address
        assert SECRET not in reply.text
        assert "root:" not in reply.text
        assert "aih-plan" not in reply.text


UPLOADS: list[dict[str, Any]] = [
    {"files": {"files": ("a.txt", b"x" * 1000)}}, {"files": {"files": ("empty.txt", b"")}},
    {"files": {"files": ("../../up.txt", b"")}}, {"files": [("files", (f"{i}.txt", b"")) for i in range(50)]},
    {"json": {}}, {"content": b"\xff"},
]  # fmt: skip


@pytest.mark.parametrize(
    "route",
    ["upload", "upload?upload_id=x", "process_recording", "component_server", "component_server/", "run/x", "api/x",
     "call/x", "call/v2/x", "stream/x", "stream/x/close", "vibe-edit", "undo-vibe-edit", "run-history/connect",
     "login"],
)  # fmt: skip
def test_nothing_can_be_put_here(client: TestClient, folder: Path, private: Path, route: str) -> None:
    before = contents(folder)
    for upload in UPLOADS:
        assert client.post(f"/gradio_api/{route}", **upload).status_code == 404
        assert client.post(f"/{route}", **upload).status_code in (400, 401, 403, 404, 405, 422)
    assert [path for path in private.rglob("*") if path.is_file()] == []
    assert contents(folder) == before


@pytest.mark.parametrize(
    "route",
    ["info", "openapi.json", "deep_link", "dev/reload", "vibe-code/", "token", "user", "runs", "app_id",
     "run-history/buckets", "upload_progress?upload_id=x"],
)  # fmt: skip
def test_gradio_s_other_parts_are_closed(client: TestClient, route: str) -> None:
    assert client.get(f"/gradio_api/{route}").status_code == 404


def test_other_methods_change_nothing(client: TestClient, folder: Path) -> None:
    before = contents(folder)
    for path in ("/", "/data/sample/0", "/data/picture/0/image", "/data/archive/0.npz", "/data/flag/0", "/config"):
        for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE"):
            if (path, method) not in (("/data/flag/0", "PUT"), ("/data/flag/0", "DELETE")):
                assert client.request(method, path, json={"reason": "dark"}).status_code in (404, 405)
    assert client.get("/data/flag/0").status_code == 404
    assert contents(folder) == before
