"""Every line of the production checklist; docs/PRODUCTION_CHECKLIST.md is written from this."""

from __future__ import annotations

from pouw.preflight import baselines, configuration, database, hardware, keys, live, monitoring, tls
from pouw.preflight.lines import Item, Section

_CONFIRM = "Confirm it."
_FIVE_MINUTES = 300


def _load(line: str, command: str, goal: baselines.Goal) -> Item:
    cure = "Run it on hardware like production's, and give the folder of results with --bench."
    return Item(line, f"{goal.measure}: {goal.asked}", command, cure, baselines.measured(goal))


def _index(table: str, column: str, *, unique: bool = False) -> Item:
    title = f"Index for `{table}.{column}`{' (unique)' if unique else ''}"
    cure = "Run `pouw migrate up`; an invalid one: REINDEX INDEX CONCURRENTLY."
    command = f"psql \"$POUW_DATABASE_URL\" -c '\\d {table}'"
    return Item(f"index.{table}.{column}", title, command, cure, database.index(table, column, unique=unique))


def _alert(line: str, title: str, name: str, severity: str, most_secs: int) -> Item:
    cure = "Load deploy/prometheus/alerts.yml and recording.yml."
    look = monitoring.alert(name, severity, most_secs)
    return Item(line, f"Alert: {title}", "promtool check rules deploy/prometheus/alerts.yml", cure, look)


_SMOKE = 'pouw smoke "$NODE"'
_TARGETS = 'curl -fsS "$PROMETHEUS/api/v1/targets"'
_TLS = 'openssl s_client -connect "$HOST:443" -servername "$HOST"'
_LIMITS = 'curl -fsS "$NODE/api/v1/pouw/node"'
_GRAFANA = "ls deploy/grafana"
_LOADED = "Import it from deploy/grafana (provisioning.yml), and look whether its panels have data."
_ALERTS = (
    _alert("alert.rejections", "rejection rate > 10% for 5 min, warning", "PouwHighRejectionRate", "warning",
           _FIVE_MINUTES),
    _alert("alert.many_rejections", "rejection rate > 50% for 5 min, critical", "PouwVeryHighRejectionRate", "critical",
           _FIVE_MINUTES),
    _alert("alert.quotas", "> 100 denials/min, warning", "PouwRateLimitStorm", "warning", 60),
    _alert("alert.signatures", "signature verification P99 > 100ms, warning", "PouwSignatureVerificationSlow",
           "warning", _FIVE_MINUTES),
    _alert("alert.health", "health check fails, critical", "PouwUnhealthy", "critical", 60),
    _alert("alert.database", "connection errors, critical", "PouwDatabaseLost", "critical", 60),
)  # fmt: skip

SECTIONS = (
    Section("Hardware", (
        Item("hardware.cores", "At least 4 CPU cores (8 or more for much load)", "nproc",
             "Take a larger machine; docs/tuning.md says what cores are for.", hardware.cores),
        Item("hardware.memory", "At least 8 GB of memory (16 GB or more for much load)", "free -g",
             "Take a larger machine.", hardware.memory),
        Item("hardware.disk", "SSD storage with at least 100 GB free", "df -h; lsblk -d -o NAME,ROTA",
             "Make room, or take a larger or faster disk.", hardware.disk),
        Item("hardware.network", "Network of at least 1 Gbps", "cat /sys/class/net/*/speed",
             "Take a faster network.", hardware.network),
    )),
    Section("Software", (
        Item("software.python", "Python 3.11 to 3.13", "python --version", "Install another Python.", hardware.python),
        Item("software.postgresql", "PostgreSQL 15 or later, as primary",
             "psql \"$POUW_DATABASE_URL\" -Atc 'SHOW server_version'", "Upgrade PostgreSQL.", database.version),
        Item("software.redis", "Redis or Valkey for quotas", 'redis-cli -u "$POUW_REDIS_URL" ping',
             "Set POUW_REDIS_URL, and start the server.", database.cache),
        Item("software.prometheus", "Prometheus answers", 'curl -fsS "$PROMETHEUS/-/ready"',
             "Start Prometheus with deploy/prometheus/prometheus.yml; give --prometheus.", monitoring.prometheus),
        Item("software.grafana", "Grafana shows the dashboards", _GRAFANA, _LOADED),
    )),
    Section("TLS", (
        Item("tls.certificate", "Valid certificate, for two more weeks at least", _TLS,
             "Install a certificate for that name; for one of your own authority give --ca.", tls.certificate),
        Item("tls.version", "TLS 1.3 and nothing older", f"{_TLS} -tls1_2",
             "Let the node or deploy/haproxy end TLS: both speak 1.3 only.", tls.version),
        Item("tls.renewal", "Certificate renewal is automatic", _TLS,
             "Renew it once by hand with the tool that does it by night (docs/RUNBOOK.md, Rotating other secrets).",
             tls.renewal),
        Item("tls.hsts", "Strict-Transport-Security is sent", 'curl -fsSI "$NODE/health/live"',
             "Set POUW_HSTS_SECS to half a year at least; behind a proxy, POUW_TRUSTED_PROXIES too.", tls.hsts),
    )),
    Section("Authentication", (
        Item("keys.generated", "Node key made by `pouw key create`, and the one that the node signs with",
             "pouw key list", "Make another key, and rotate: docs/RUNBOOK.md.", keys.generated),
        Item("keys.kept", "Key in a closed file, a credential or a PKCS#11 token", "pouw key create --help",
             "Put it into a file with mode 600 (POUW_NODE_SECRET_KEY_FILE), or see docs/hsm.md.", keys.kept),
        Item("keys.age", "Active keys are at most a year old", "pouw key list",
             "Rotate: docs/RUNBOOK.md, Rotating the node key.", keys.age),
        Item("keys.rotation", "Key rotation was tried by those who will do it", "pouw key list",
             "Do docs/RUNBOOK.md, Rotating the node key, in staging.", keys.rotation),
    )),
    Section("Rate limits", (
        Item("limits.ip", "Quota per address (default 100 a minute)", _LIMITS, "Lower POUW_RATE_LIMIT_IP; `pouw quota`"
             " makes exceptions.", configuration.limit("rate_limit_ip_per_minute", "rate_limit_ip", 10_000)),
        Item("limits.did", "Quota per DID (default 50 a minute)", _LIMITS, "Lower POUW_RATE_LIMIT_DID; `pouw quota`"
             " makes exceptions.", configuration.limit("rate_limit_did_per_minute", "rate_limit_did", 5_000)),
        Item("limits.batch", "Receipts in a batch (default 100)", _LIMITS, "Lower POUW_BATCH_SIZE_MAX.",
             configuration.limit("batch_size_max", "batch_size_max", 1_000)),
        Item("limits.timeout", "Time for a request's body (default 30 s)", 'echo "$POUW_REQUEST_TIMEOUT_SECS"',
             "Lower POUW_REQUEST_TIMEOUT_SECS.", configuration.request_timeout),
    )),
    Section("Secrets", (
        Item("secrets.kept", "Secrets in closed files, credentials or the environment, none of them a usual one",
             'ls -l "$POUW_NODE_SECRET_KEY_FILE"', "chmod o= them; make other passwords.", keys.secrets),
        Item("secrets.elsewhere", "No secret in code or configuration", "pouw preflight --config /etc/pouw",
             "Take it out there, and make another one.", keys.elsewhere),
        Item("secrets.rotation", "Rotation of secrets is known to those who will do it", "less docs/RUNBOOK.md",
             "Read docs/RUNBOOK.md, Rotating other secrets."),
    )),
    Section("Settings and flags", (
        Item("settings.read", "Required variables are set, and every variable is understood", "pouw serve",
             "Mend what is named.", configuration.settings),
        Item("flags.production", "Production mode", 'echo "$POUW_ENV"', "Set POUW_ENV=production.",
             configuration.production),
        Item("flags.development", "Nothing that is for development only", "POUW_ENV=production pouw serve",
             "Mend what is named: docs/RUNBOOK.md, Production mode.", configuration.development),
        Item("flags.debug", "No debug log", 'echo "$POUW_LOG_LEVEL"', "Set POUW_LOG_LEVEL=info.", configuration.debug),
    )),
    Section("Database", (
        Item("database.migrations", "All migrations applied", "pouw migrate status", "Run `pouw migrate up`.",
             database.migrations),
        Item("database.schema", "Schema as the migrations make it", "pouw migrate status",
             "Find out who changed the schema by hand, and undo it.", database.schema),
        _index("challenges", "task_id"),
        _index("challenges", "expires_at"),
        _index("receipts", "client_did"),
        _index("receipts", "submitted_at"),
        _index("rewards", "epoch"),
        _index("nonces", "nonce", unique=True),
    )),
    Section("Backup", (
        Item("backup.made", "Automated backup, the last one at most 26 hours ago", "pouw backup note",
             "Make one, and let its script end with `pouw backup note`.", database.backup),
        Item("backup.restored", "Restore tried within 90 days, to a point in time",
             "pouw backup restored --reason 'base of Monday to 14:03, pouw preflight passed'",
             "Restore one elsewhere, check it, and run `pouw backup restored`.", database.restore),
        Item("backup.retention", "Backups are kept for 30 days at least",
             "psql \"$POUW_DATABASE_URL\" -c 'TABLE pg_stat_archiver'", "Ask whoever keeps them.", database.retention),
    )),
    Section("Metrics", (
        Item("metrics.exposed", "Metrics endpoint answers", 'curl -fsS "$METRICS"',
             "Look at POUW_METRICS_HOST, POUW_METRICS_PORT and POUW_METRICS_TOKEN; give --metrics.",
             monitoring.exposed),
        Item("metrics.scraped", "Prometheus scrapes every node and background process", _TARGETS,
             "Name them in Prometheus's scrape_configs under the jobs pouw and pouw-worker.", monitoring.scraped),
        Item("metrics.recorded", "Recording rules are loaded", 'curl -fsS "$PROMETHEUS/api/v1/rules"',
             "Load deploy/prometheus/recording.yml.", monitoring.recording),
    )),
    Section("Alerts", (
        *_ALERTS,
        Item("alert.delivered", "Alerts reach a human", 'curl -fsS "$ALERTMANAGER/api/v2/receivers"',
             "Set receivers in deploy/prometheus/alertmanager.yml, and let an alert through to a telephone.",
             monitoring.delivered),
    )),
    Section("Dashboards", tuple(
        Item(f"dashboard.{name}", title, _GRAFANA, _LOADED)
        for name, title in (
            ("overview", "Overview (pouw-overview)"),
            ("throughput", "Throughput graphs (pouw-throughput)"),
            ("latency", "Latency histograms (pouw-latency)"),
            ("errors", "Error rate tracking (pouw-errors)"),
            ("disputes", "Dispute tracking (pouw-money)"),
        )
    )),
    Section("Load tests", (
        _load("load.challenge", "python -m bench challenge", baselines.LOADS[0]),
        _load("load.submit", "python -m bench submit --rate 1000", baselines.LOADS[1]),
        _load("load.peak", "python -m bench peak", baselines.LOADS[2]),
        _load("load.soak", "python -m bench soak --hours 24", baselines.LOADS[3]),
    )),
    Section("Performance baselines", (
        _load("baseline.challenge_p50", "python -m bench challenge", baselines.BASELINES[0]),
        _load("baseline.challenge_p99", "python -m bench challenge", baselines.BASELINES[1]),
        _load("baseline.submit_p50", "python -m bench submit --rate 1000", baselines.BASELINES[2]),
        _load("baseline.submit_p99", "python -m bench submit --rate 1000", baselines.BASELINES[3]),
        _load("baseline.throughput", "python -m bench submit --find-max", baselines.BASELINES[4]),
    )),
    Section("Before the deployment", (
        Item("before.review", "Code reviewed and approved", "git log", _CONFIRM),
        Item("before.tests", "All tests pass", "CI=1 make test", _CONFIRM),
        Item("before.analysis", "Static analysis passes", "make lint", _CONFIRM),
        Item("before.security", "Security scan completed", "make audit", _CONFIRM),
        Item("before.documentation", "Documentation updated", "less CHANGELOG.md", _CONFIRM),
    )),
    Section("Deployment", (
        Item("deploy.maintenance", "Maintenance mode enabled, if the change needs it",
             "pouw maintenance on --reason 'a new version' --until 30m", "Rolling restarts need none: docs/deploy.md."),
        Item("deploy.backup", "Present state backed up", "pouw backup note", "Make a backup now."),
        Item("deploy.version", "New version is deployed", _LIMITS,
             "Restart the nodes one after the other: docs/deploy.md.", live.deployed),
        Item("deploy.smoke", "Smoke tests pass", _SMOKE, "Look at what failed; go back where it stays.", live.smoke),
        Item("deploy.metrics", "Metrics are still collected", _TARGETS, "See metrics.scraped.", monitoring.scraped),
        Item("deploy.open", "Maintenance mode is off", "pouw maintenance", "Run `pouw maintenance off`.",
             live.no_maintenance),
        Item("deploy.watch", "Watched for 30 minutes", 'curl -fsS "$PROMETHEUS/api/v1/alerts"',
             "Watch the overview for half an hour.", monitoring.quiet),
    )),
    Section("Rollback", (
        Item("rollback.version", "Previous version is at hand", "git tag", "Keep its package or image."),
        Item("rollback.documented", "Way back is known to those on call", "pouw rollback",
             "Read docs/deploy.md, Going back."),
        Item("rollback.tested", "Way back was tried in staging", "less docs/deploy.md",
             "Do it in staging, under load."),
    )),
    Section("Verification", (
        Item("verify.health", "Health endpoint answers 200, and every part is well", 'curl -fsS "$NODE/health"',
             "docs/RUNBOOK.md, PouwUnhealthy.", live.health),
        Item("verify.metrics", "Metrics are collected", 'curl -fsS "$METRICS"', "See metrics.exposed.",
             monitoring.exposed),
        Item("verify.challenge", "Challenges are given", _SMOKE, "Look into the node's log.", live.smoked("challenge")),
        Item("verify.submit", "Batches are taken, once each", _SMOKE, "Look into the node's log.",
             live.smoked("batch", "retry", "replay", "bad signature")),
        Item("verify.logs", "Logs show what is expected", "journalctl -u pouw --since -30min",
             "Look for unhandled_error and warnings."),
    )),
    Section("Communication", (
        Item("people.status", "Status page updated", "", _CONFIRM),
        Item("people.team", "Team notified", "", _CONFIRM),
        Item("people.dashboard", "Monitoring dashboard shared", _GRAFANA, _CONFIRM),
    )),
    Section("On call", (
        Item("oncall.rotation", "On-call rotation defined", "", _CONFIRM),
        Item("oncall.escalation", "Escalation path documented", "", _CONFIRM),
        Item("oncall.contacts", "Contact information current", "", _CONFIRM),
        Item("oncall.runbook", "Those on call know the runbook and the threat model",
             "less docs/RUNBOOK.md docs/THREAT_MODEL.md", _CONFIRM),
    )),
)  # fmt: skip
SIGNERS = ("Development Lead", "Security Review", "Operations", "Product Owner")
