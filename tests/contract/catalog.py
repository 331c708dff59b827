"""What a database holds, as values that can be compared: one line an object, in words a person can read."""

import asyncpg

OBJECTS = {
    "table": """
        SELECT relname || ' ' || relkind::text || ' ' || coalesce(array_to_string(reloptions, ','), '')
        FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname = 'public' AND relkind IN ('r', 'p', 'v', 'm', 'S')""",
    "column": """
        SELECT relname || '.' || attname || ' ' || format_type(atttypid, atttypmod)
            || CASE WHEN attnotnull THEN ' not null' ELSE '' END
            || coalesce(' default ' || pg_get_expr(adbin, adrelid), '')
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE nspname = 'public' AND relkind IN ('r', 'p', 'v', 'm') AND attnum > 0 AND NOT attisdropped""",
    "index": "SELECT indexname || ' ' || indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraint": """
        SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'""",
    "trigger": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "function": "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "type": "SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace",
    "operator class": "SELECT opcname FROM pg_opclass WHERE opcnamespace = 'public'::regnamespace",
    "extension": "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'",
}
BOOKS = "schema_migrations"


async def catalog(conn: asyncpg.Connection) -> set[tuple[str, str]]:
    """Everything in schema public and every extension, as (kind, description), save the migrations' own books."""
    found = {(kind, row[0]) for kind, query in OBJECTS.items() for row in await conn.fetch(query)}
    return {(kind, text) for kind, text in found if BOOKS not in text}
