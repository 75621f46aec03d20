"""Every exception that this package raises on purpose.

::

    PouwError
     ├── SettingsError          the environment is wrong; all faults at once
     ├── KeyMaterialError       a key file or key text is not a key
     ├── NoSigningKey           no key of this node is active
     ├── ProtocolError          bytes that do not follow the protocol
     │    ├── DidError          not a DID that names an Ed25519 key
     │    ├── TokenError        a challenge token that is malformed or not the node's
     │    ├── VerdictError      an answer that is malformed or not what the node signed
     │    ├── ManifestError     an epoch's manifest that is malformed or not what the node signed
     │    └── RewardError       reward rules that are none
     ├── BodyError              a request body that cannot be a batch
     ├── StoreError             the database refused or failed
     │    ├── StoreUnavailable  it cannot be reached or took too long
     │    ├── BatchConflict     the batch nonce is taken by another content
     │    ├── IdentityConflict  the DID is registered already, or had the key before
     │    ├── DisputeConflict   the dispute has moved on, or there are too many
     │    ├── EpochClosed       a batch came too late for the epoch that it began in
     │    └── VerdictGone       the batch was answered, and its verdict is not kept any more
     ├── EngineFault            an engine is wrong about a signature
     ├── QuotaExceeded          a limit is spent
     ├── AccessError            a block, a quota or a maintenance that cannot be set
     ├── InMaintenance          the operators take no work at the moment
     ├── DisputeError           a dispute that cannot be filed or moved as asked
     ├── EpochError             an epoch cannot be closed, exported or audited as asked
     ├── AuditError             an export is not what its manifest says
     ├── PayoutError            a payout cannot be moved as asked
     ├── MigrationError         the schema could not be moved
     ├── PreflightError         a line of the checklist cannot be looked at
     ├── LocalServerError       an embedded server or a port is not to be had
     ├── OutboxError            the client's side: an outbox is in use, or another DID's
     └── NodeError              the client's side: no node answered as the protocol says
          └── NodeRefused       a node will never take this request
"""


class PouwError(Exception):
    """Base of all errors of this package."""


class SettingsError(PouwError):
    """The environment is wrong. ``faults`` holds one sentence for each mistake."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("; ".join(faults))


class KeyMaterialError(PouwError):
    """A key file or a key's text cannot be used."""


class NoSigningKey(PouwError):
    """No key that this node holds is active, so it cannot sign."""


class ProtocolError(PouwError):
    """Bytes or values that do not follow the protocol."""


class DidError(ProtocolError):
    """Not a DID that names a usable Ed25519 key."""


class TokenError(ProtocolError):
    """A challenge token that is malformed or was not signed by its node."""


class VerdictError(ProtocolError):
    """An answer to a batch that is malformed, or is not what its node signed."""


class ManifestError(ProtocolError):
    """An epoch's manifest that is malformed, or is not what its node signed."""


class RewardError(ProtocolError):
    """Reward rules that are none."""


class BodyError(PouwError):
    """A request body that cannot be a batch, whatever its content.

    ``kind`` is a short label of the fault, ``path`` a JSON pointer to it; the message says it to a person.
    """

    def __init__(self, kind: str, message: str, path: str = "") -> None:
        self.kind = kind
        self.path = path
        super().__init__(message)


class StoreError(PouwError):
    """The database refused a statement or failed."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, or did not answer in time."""


class BatchConflict(StoreError):
    """This DID already used this batch nonce for a batch with other content."""


class IdentityConflict(StoreError):
    """The DID is registered already, or had this key before."""


class DisputeConflict(StoreError):
    """The dispute has moved on meanwhile, one about the same waits already, or there are too many."""


class EpochClosed(StoreError):
    """The epoch in which this transaction began was closed meanwhile; another attempt counts for the next one."""


class VerdictGone(StoreError):
    """The batch was answered, and its verdict is not kept any more."""


class EngineFault(PouwError):
    """An engine gave a wrong answer about a signature in the self-test: the node must not start."""


class QuotaExceeded(PouwError):
    """A limit is spent. ``scope`` names it, ``limit`` is requests a minute, ``retry_after`` seconds."""

    def __init__(self, scope: str, limit: int, retry_after: int) -> None:
        self.scope = scope
        self.limit = limit
        self.retry_after = retry_after
        super().__init__(f"The quota per {scope} ({limit} a minute) is spent.")


class AccessError(PouwError):
    """A block, a quota or a maintenance that cannot be set as it was asked for."""


class InMaintenance(PouwError):
    """No challenges and no batches at the moment. ``reason`` is the operators', ``retry_after`` seconds."""

    def __init__(self, reason: str, retry_after: int) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(f"The node is in maintenance: {reason}")


class DisputeError(PouwError):
    """A dispute cannot be filed or moved as it was asked for."""


class EpochError(PouwError):
    """An epoch cannot be closed, exported or audited as it was asked for."""


class AuditError(PouwError):
    """An export is not what its manifest says; the message names the line."""


class PayoutError(PouwError):
    """A payout cannot be moved as it was asked for, or a sink did not take it."""


class MigrationError(PouwError):
    """The schema could not be moved."""


class PreflightError(PouwError):
    """A line of the checklist cannot be looked at, and why."""


class LocalServerError(PouwError):
    """An embedded server, a port or a data directory is not to be had."""


class OutboxError(PouwError):
    """An outbox is in use by another process, or holds another DID's receipts."""


class NodeError(PouwError):
    """A node could not be reached or did not answer as the protocol says."""


class NodeRefused(NodeError):
    """A node will never take this request, however often it is sent."""
