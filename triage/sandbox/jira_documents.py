"""Atlassian documents: what Jira Cloud accepts as text, and as what older clients see it."""

from __future__ import annotations

from typing import Any

INLINE = frozenset({"text", "hardBreak", "emoji", "mention", "inlineCard", "date", "status"})
LISTS = frozenset({"bulletList", "orderedList"})
CHILDREN: dict[str, frozenset[str]] = {
    "doc": LISTS | {"paragraph", "heading", "codeBlock", "blockquote", "panel", "rule", "table", "expand", "mediaSingle", "mediaGroup"},
    "paragraph": INLINE,
    "heading": INLINE,
    "codeBlock": frozenset({"text"}),
    "blockquote": LISTS | {"paragraph", "codeBlock"},
    "panel": LISTS | {"paragraph", "heading", "codeBlock", "rule"},
    "bulletList": frozenset({"listItem"}),
    "orderedList": frozenset({"listItem"}),
    "listItem": LISTS | {"paragraph", "codeBlock"},
    "expand": LISTS | {"paragraph", "heading", "codeBlock", "panel", "blockquote", "rule"},
    "table": frozenset({"tableRow"}),
    "tableRow": frozenset({"tableCell", "tableHeader"}),
    "tableCell": LISTS | {"paragraph", "heading", "codeBlock", "blockquote", "panel", "rule"},
    "tableHeader": LISTS | {"paragraph", "heading", "codeBlock", "blockquote", "panel", "rule"},
}
LEAVES = frozenset({"text", "hardBreak", "rule", "emoji", "mention", "inlineCard", "date", "status", "mediaSingle", "mediaGroup"})
NEEDS_CHILDREN = frozenset({"bulletList", "orderedList", "listItem", "blockquote", "panel", "table", "expand"})
MARKS = frozenset({"strong", "em", "code", "link", "strike", "underline", "subsup", "textColor", "backgroundColor"})


def problem(document: Any) -> str | None:
    """Why it is no document, None for a good one."""
    if not isinstance(document, dict) or document.get("type") != "doc":
        return "the value must be an Atlassian document"
    if document.get("version") != 1 or not isinstance(document.get("content"), list):
        return "a document needs a version of 1 and a list of content"
    return _problem(document)


def _problem(node: Any) -> str | None:
    kind = node.get("type")
    if kind == "text":
        return _text_problem(node)
    children = node.get("content", [])
    if not isinstance(children, list):
        return f"the content of {kind} must be a list"
    if kind in LEAVES:
        return f"{kind} can't hold content" if children and kind not in ("mediaSingle", "mediaGroup") else None
    if kind in NEEDS_CHILDREN and not children:
        return f"{kind} needs content"
    if kind == "heading" and node.get("attrs", {}).get("level") not in range(1, 7):
        return "a heading needs a level of 1 to 6"
    for child in children:
        if not isinstance(child, dict) or child.get("type") not in CHILDREN[kind]:
            return f"{kind} can't hold {child.get('type') if isinstance(child, dict) else 'a value'}"
        if kind == "codeBlock" and child.get("marks"):
            return "text in a codeBlock can't bear marks"
        found = _problem(child)
        if found:
            return found
    return None


def _text_problem(node: dict[str, Any]) -> str | None:
    if not isinstance(node.get("text"), str) or not node["text"]:
        return "a text node needs text"
    for mark in node.get("marks", []):
        if not isinstance(mark, dict) or mark.get("type") not in MARKS:
            return "a mark of that kind does not exist"
        if mark["type"] == "link" and not isinstance(mark.get("attrs", {}).get("href"), str):
            return "a link needs an address"
    return None


def plain(body: Any) -> str:
    """A document as text, a line a block; wiki text as it is."""
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return ""
    kind = body.get("type")
    if kind == "text":
        return str(body.get("text", ""))
    if kind == "hardBreak":
        return "\n"
    joint = "" if kind in ("paragraph", "heading", "codeBlock") else "\n"
    inner = joint.join(plain(child) for child in body.get("content", []))
    return "\n".join(f"- {line}" if at == 0 else f"  {line}" for at, line in enumerate(inner.split("\n"))) if kind == "listItem" else inner


def document(text: str) -> dict[str, Any]:
    """Text as a document, for what came in through the older API."""
    paragraphs = [{"type": "paragraph", "content": [{"type": "text", "text": line}] if line else []} for line in text.split("\n")]
    return {"type": "doc", "version": 1, "content": paragraphs}
