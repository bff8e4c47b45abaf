"""Keys and the names that are made of them."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from h3_pipeline.storage import prefixes

any_key = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
awkward_key = st.text(st.sampled_from("/.%*?{}[]\\ +#&='\"\0\x1f\x7f~äé€😀a0"), min_size=1, max_size=20)
keys = any_key | awkward_key


class TestPartitionKeys:
    @given(keys)
    @example("a...b")
    @example("a%2Eb")
    @example("....")
    @example("a\nb")
    def test_reversible_and_free_of_what_dagster_forbids(self, key: str) -> None:
        partition = prefixes.partition_key(key)
        assert prefixes.key_of_partition(partition) == key
        assert "..." not in partition
        assert not any(ord(sign) < 0x20 or ord(sign) == 0x7F for sign in partition)

    @pytest.mark.parametrize("key", ["a b.csv", "a,b|c.csv", "ä.csv", "a..b.csv", "x/y=z/*?.csv"])
    def test_what_dagster_allows_is_left_as_it_is(self, key: str) -> None:
        assert prefixes.partition_key(key) == key


class TestObjectNames:
    @given(keys.filter(lambda key: len(quote(key, safe="")) < 180))  # longer names are cut, see below
    @example("a//b")
    @example("//")
    @example("/a")
    @example("./a")
    @example("a/../b")
    @example("a/%2Fb")
    def test_reversible_and_no_pattern(self, key: str) -> None:
        stem = prefixes.object_stem(key)
        assert unquote(stem) == key
        name = prefixes.processed_object(key)
        assert not prefixes.names_a_pattern(name)
        assert not {"", ".", ".."} & set(name.split("/")[:-1])

    @given(st.lists(st.text(st.sampled_from("a/€"), min_size=150, max_size=600), min_size=2, max_size=2, unique=True))
    def test_of_very_long_keys_too_each_has_its_own_name_that_s3_takes(self, two: list[str]) -> None:
        names = [prefixes.manifest_object(key) for key in two]
        assert names[0] != names[1]
        for name in names:
            assert len(name.encode()) <= 1024
            assert max(len(segment.encode()) for segment in name.split("/")) <= 255

    def test_each_kind_of_object_has_its_place(self) -> None:
        assert prefixes.upload_object("x/a.csv") == "uploads/x/a.csv"
        assert prefixes.processed_object("x/a.csv") == "processed/x/a.csv.trips.csv.zst"
        assert prefixes.manifest_object("x/a.csv") == "processed/x/a.csv.manifest.json"
        assert prefixes.rejected_object("x/a.csv") == "rejected/x/a.csv.rejected.csv.zst"
        assert prefixes.refusal_object("x/a.csv") == "rejected/x/a.csv.refusal.json"

    @given(keys)
    @example("processed/a.csv")
    @example("uploads/a.csv")
    def test_an_upload_and_its_key_tell_each_other(self, key: str) -> None:
        assert prefixes.key_of_object(prefixes.upload_object(key)) == key
        assert prefixes.upload_object(key) == "uploads/" + key

    def test_a_csv_of_another_producer_is_told_from_an_upload_of_that_name(self) -> None:
        theirs = prefixes.key_of_object("processed/theirs.csv")
        assert theirs != prefixes.key_of_object("uploads/processed/theirs.csv")
        assert prefixes.upload_object(theirs) == "processed/theirs.csv"

    def test_own_output_is_told_from_others(self) -> None:
        for name in (prefixes.processed_object, prefixes.manifest_object, prefixes.rejected_object):
            assert prefixes.is_own_output(name("a.csv"))
        assert not prefixes.is_own_output("processed/theirs.csv")
