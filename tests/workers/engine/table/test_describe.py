"""Kinds, profile and alerts."""

from __future__ import annotations

import json

import numpy as np
import pytest

RNG = np.random.default_rng(0)
WORDS = ["lorem", "ipsum", "dolor", "sit", "amet", "elit", "sed", "do"]


def _sentences(count: int) -> list[str]:
    return [" ".join(RNG.choice(WORDS, 8)) + f" {place}" for place in range(count)]


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("x", list(range(50, 150)), "id"),
        ("customer_id", [place * 17 for place in range(100)], "id"),
        ("customerId", [place * 17 for place in range(100)], "id"),
        ("income", [place * 17 for place in range(100)], "number"),
        ("x", [0.5 * place for place in range(100)], "number"),
        ("x", [place % 3 for place in range(100)], "number"),
        ("x", [place % 2 == 0 for place in range(100)], "boolean"),
        ("x", [f"u{place:05d}" for place in range(100)], "id"),
        ("x", ["red", "green"] * 50, "category"),
        ("x", [f"city {place % 40}" for place in range(100)], "category"),
        ("x", _sentences(100), "text"),
        ("x", [f"Name, Mr. {place}" for place in range(100)], "text"),
        ("x", ["a"] * 100, "constant"),
        ("x", [None] * 100, "constant"),
        ("x", ["a", None] * 50, "category"),
        ("x", [1.5, None] * 50, "number"),
        ("x", [f"{place % 28 + 1:02d}.03.2020" for place in range(100)], "datetime"),
    ],
)
def test_finds_the_kind_when_values_speak(load_from, name, values, kind):
    assert load_from(**{name: values, "other": [0, 1] * 50})[0]["kind"] == kind


def test_lists_classes_in_order_when_there_are_few(load_from):
    columns = load_from(n=[10, 2, 2, 1] * 10, t=["b", "a", "b", None] * 10, x=[1.5, 2.0, 2.0, 1.5] * 10)
    assert columns[0]["classes"] == [
        {"value": "1", "count": 10},
        {"value": "2", "count": 20},
        {"value": "10", "count": 10},
    ]
    assert columns[1]["classes"] == [{"value": "a", "count": 10}, {"value": "b", "count": 20}]
    assert columns[2]["classes"] == [{"value": "1.5", "count": 20}, {"value": "2", "count": 20}]


def test_computes_statistics_when_column_is_numeric(read):
    body = "".join(f"{value},x\n" for value in [*range(100), "", "inf"])
    profile = read(f"a,b\n{body}".encode()).profile["columns"]["a"]
    assert (profile["min"], profile["max"], profile["mean"]) == (0, 99, 49.5)
    assert profile["std"] == pytest.approx(np.arange(100).std())
    assert profile["quantiles"]["0.5"] == pytest.approx(49.5, abs=1)
    assert (profile["missing"], profile["infinite"], profile["zeros"]) == (1, 1, 1)
    assert sum(profile["histogram"]["counts"]) == 100


def test_is_json_when_values_are_extreme(read):
    table = read(b"a,b,c\n1e308,-inf,1\n-1e308,inf,5e-324\n1e307,,2\n")
    text = json.dumps([table.columns, table.profile, table.alerts], allow_nan=False)
    assert "1e+308" in text


def test_counts_top_values_when_column_is_text(read):
    profile = read(b"t,n\n" + b"b,1\na,2\nb,3\n,4\n" * 10).profile["columns"]["t"]
    assert profile["top"] == [{"value": "b", "count": 20}, {"value": "a", "count": 10}]
    assert (profile["missing_share"], profile["mean_length"], profile["max_length"]) == (0.25, 1.0, 1)


def _codes(table) -> set[tuple[str, str]]:
    return {(alert["code"], alert["column"]) for alert in table.alerts}


def test_alerts_when_columns_are_suspicious(read):
    rows = [
        f"{place},k,{place * 0.5},{place * 0.5},{'' if place % 3 else place},{'rare' if place == 7 else 'often'}"
        for place in range(60)
    ]
    table = read(("id,same,a,twin,gap,c\n" + "\n".join(rows) + "\n").encode())
    assert _codes(table) == {
        ("id_like", "id"),
        ("constant", "same"),
        ("duplicate_column", "twin"),
        ("high_missing", "gap"),
        ("rare_class", "c"),
    }


def test_alerts_when_values_are_infinite(read):
    alerts = read(b"a,b\n1,x\ninf,y\n-inf,z\n").alerts
    assert next(alert for alert in alerts if alert["code"] == "infinite_values")["rows"] == 2


def test_names_the_odd_value_when_numbers_are_nearly_all(read):
    body = "".join(f"{place},x\n" for place in range(50))
    alerts = read(f"a,b\n{body}12 kg,x\n".encode()).alerts
    assert "'12 kg'" in next(alert for alert in alerts if alert["code"] == "mixed_types")["detail"]
