import json

from hypothesis import given
from hypothesis import strategies as st

from autosinian.report.markup import Cell, Markup, Row, element, join, json_script, table

TEXT = st.text(max_size=40)


@given(TEXT)
def test_text_is_escaped_in_content_and_in_attributes(text: str) -> None:
    html = element("p", text, title=text).html
    inner = html.removeprefix('<p title="').removesuffix("</p>")
    assert "<" not in inner
    assert inner.count('"') == 1
    assert inner.count(">") == 1


@given(st.recursive(TEXT | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_data_in_a_script_is_read_back_and_cannot_end_it(value: object) -> None:
    html = json_script("data", value).html
    inner = html.removeprefix('<script type="application/json" id="data">')
    inner = inner.removesuffix("</script>")
    assert not set("<>&\u2028\u2029") & set(inner)
    assert json.loads(inner) == value


def test_markup_is_kept_and_text_beside_it_is_not() -> None:
    assert join([Markup("<br>"), "<br>"]).html == "<br>&lt;br&gt;"


def test_attributes_that_are_none_are_left_out() -> None:
    assert element("td", "1", class_=None, data_key="").html == '<td data-key="">1</td>'


def test_columns_of_numbers_stand_to_the_right() -> None:
    html = table(["name", "count"], [Row(["a", Cell("1,000", 1000)])]).html
    assert '<th>name</th><th class="number">count</th>' in html
    assert '<td>a</td><td class="number">1,000</td>' in html


def test_a_sortable_table_says_what_each_cell_is_sorted_by() -> None:
    html = table(["n"], [Row([Cell("1,000", 1000)]), Row([Cell("", "")])], sortable=True).html
    assert 'data-key="1000"' in html
    assert 'data-key=""' in html
    assert '<th class="number"><button type="button">n</button></th>' in html


def test_a_table_without_titles_has_no_head() -> None:
    assert "thead" not in table(["", ""], [Row(["a", "b"])]).html
