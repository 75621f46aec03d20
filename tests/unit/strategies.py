"""Generators of protocol values, aimed at their bounds."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from pouw.protocol.types import MAX_INTEGER, Aux, ProofType, Receipt

nonces = st.binary(min_size=16, max_size=32)
integers = st.sampled_from([0, 1, 127, 128, 16_383, 16_384, 2**32, MAX_INTEGER - 1, MAX_INTEGER]) | st.integers(
    0, MAX_INTEGER
)


def text(most: int) -> st.SearchStrategy[str]:
    """Unicode text of at most ``most`` bytes of UTF-8."""
    return st.text(max_size=most // 4) | st.just("x" * most) | st.just("é" * (most // 2))


@st.composite
def auxes(draw: st.DrawFn, proof_type: ProofType) -> Aux | None:
    """Evidence that fits the proof type."""
    roots = st.binary(max_size=64)
    if proof_type < ProofType.WEB4_MANIFEST_ROUTE:
        return draw(st.none() | st.just(Aux()) | st.builds(Aux, roots, roots, text(4096)))
    context = {"manifest_cid": draw(st.text(min_size=1, max_size=20)), "served_from_cache": draw(st.booleans())}
    return Aux(draw(roots), draw(roots), json.dumps(context))


@st.composite
def receipts(draw: st.DrawFn) -> Receipt:
    """Well-formed receipts with empty and maximal fields among them."""
    started, finished = sorted((draw(integers), draw(integers)))
    proof_type = draw(st.sampled_from(ProofType))
    return Receipt(
        task_id=draw(nonces),
        client_did=draw(text(256).filter(bool)),
        client_node_id=draw(st.binary(min_size=32, max_size=32)),
        provider_id=draw(st.binary(max_size=64)),
        content_id=draw(st.binary(min_size=1, max_size=64)),
        proof_type=proof_type,
        bytes_verified=draw(integers),
        result_ok=draw(st.booleans()),
        started_at=started,
        finished_at=finished,
        receipt_nonce=draw(nonces),
        challenge_nonce=draw(nonces),
        aux=draw(auxes(proof_type)),
    )
