"""The platform's schema as its specification names it, in the words of PostgreSQL: what migrations are held to."""

COLUMNS = {
    "users": """id uuid, email varchar(255) not null, username varchar(100) not null, password_hash varchar(255) not
        null, subscription_tier varchar(50), subscription_status varchar(50), subscription_start_date timestamp,
        subscription_end_date timestamp, payment_method_id varchar(255), country_code char(2), language varchar(10),
        email_verified boolean, is_active boolean, marketing_opt_in boolean, created_at timestamp, updated_at
        timestamp, last_login_at timestamp""",
    "profiles": """id uuid, user_id uuid, name varchar(100) not null, avatar_url varchar(500), is_kids boolean,
        language varchar(10), preferences jsonb, created_at timestamp, updated_at timestamp""",
    "content": """id uuid, type varchar(50) not null, title varchar(500) not null, original_title varchar(500),
        description text, long_description text, duration int, release_year int, genres varchar(50)[], rating
        varchar(20), imdb_id varchar(20), tmdb_id varchar(20), languages varchar(10)[], subtitles varchar(10)[],
        audio_tracks jsonb, cast jsonb, directors varchar(255)[], stream_url varchar(1000), stream_type varchar(50),
        poster_url varchar(500), thumbnail_url varchar(500), banner_url varchar(500), trailer_url varchar(500),
        metadata jsonb, availability jsonb, monetization varchar(50), rental_price numeric(10,2), purchase_price
        numeric(10,2), ppv_price numeric(10,2), is_published boolean, published_at timestamp, created_at timestamp,
        updated_at timestamp""",
    "seasons": """id uuid, series_id uuid, season_number int not null, title varchar(255), description text,
        poster_url varchar(500), release_year int""",
    "episodes": """id uuid, season_id uuid, content_id uuid, episode_number int not null, title varchar(255) not null,
        description text, duration int not null, air_date date, thumbnail_url varchar(500)""",
    "watch_history": """id uuid, profile_id uuid, content_id uuid, content_type varchar(50) not null, position int,
        duration int, watched_at timestamp, completed boolean, position_at timestamp not null, position_order bigint not
        null, at_end boolean not null, duration_at timestamp not null""",
    "watchlist": "id uuid, profile_id uuid, content_id uuid, added_at timestamp",
    "ratings": "id uuid, profile_id uuid, content_id uuid, rating int, review text",
    "subscription_plans": "id uuid",
    "transactions": """id uuid, user_id uuid, type varchar(50), amount numeric(10,2), currency char(3), payment_method
        varchar(50), payment_provider_id varchar(255), status varchar(50), content_id uuid, subscription_plan_id uuid,
        metadata jsonb""",
    "live_channels": """id uuid, content_id uuid, channel_number int, stream_url varchar(1000), ingest_url
        varchar(1000), is_live boolean, viewer_count int""",
    "epg_events": """id uuid, channel_id uuid, content_id uuid, title varchar(255), start_time timestamp, end_time
        timestamp, duration int""",
    "ad_campaigns": "id uuid",
    "ad_impressions": """impression_id uuid not null, events bigint not null, repeats bigint not null, duration int,
        implausible boolean not null""",
    "content_hotness": """content_id uuid, hotness_score double precision, view_count_24h int, view_count_7d int,
        view_count_30d int, replication_tier int, ttl_hint int""",
    "admin_users": "id uuid",
    "audit_logs": "id uuid",
    # Ours: the ingest path's own tables.
    "content_views_hourly": "content_id uuid not null, hour timestamptz not null, views bigint not null",
    "ad_campaign_hours": """campaign_id uuid not null, hour timestamptz not null, impressions bigint not null, starts
        bigint not null, first_quartiles bigint not null, midpoints bigint not null, third_quartiles bigint not null,
        completions bigint not null, clicks bigint not null, skips bigint not null, errors bigint not null, viewables
        bigint not null, repeats bigint not null, implausible bigint not null, tests bigint not null""",
    "ad_campaign_prices": """campaign_id uuid not null, from_hour timestamptz not null, pricing_model varchar(10) not
        null, bid_amount numeric(10,4) not null, currency char(3) not null""",
    "ad_frequencies": """campaign_id uuid not null, profile_id uuid not null, day date not null, impressions bigint not
        null""",
    "ad_campaign_stale": "campaign_id uuid not null",
    "watch_history_waiting": """profile_id uuid not null, content_id uuid not null, position int not null, duration int
        not null, watched_at timestamp not null, completed boolean not null, position_at timestamp not null,
        position_order bigint not null, at_end boolean not null, duration_at timestamp not null, waiting_since
        timestamptz not null""",
    "view_firsts": """session_id uuid not null, content_id uuid not null, hour int not null, counted boolean not null,
        moved_from int, seen_at timestamptz not null""",
    "ingest_registration": "reader text not null, registration_id uuid not null, registered_at timestamptz not null",
    "ingest_positions": """reader text not null, incarnation uuid not null, sequence bigint not null, totals jsonb not
        null, updated_at timestamptz not null""",
    "clock_repairs": """event_id uuid not null, raw_occurred_at timestamptz not null, occurred_at timestamptz not null,
        repaired_at timestamptz not null""",
}

SCHEMA_1 = """event_id uuid not null, content_id uuid not null, session_id uuid not null, occurred_at timestamptz not
    null, received_at timestamptz not null, event_type varchar(50) not null, test boolean not null, sent_at
    timestamptz, sequence bigint, position int, duration int, profile_id uuid, quality varchar(20), bitrate int,
    device_type varchar(50), platform varchar(50), cdn_edge varchar(100), buffer_duration int, startup_ms int,
    error_code varchar(50), player varchar(100), app_version varchar(50), country char(2), metadata json"""
"""The columns of playback_events in COPY order: schema id 1 of the spool's frames."""

DEFAULTS = {
    "users.subscription_tier": "'free'", "users.subscription_status": "'active'", "users.language": "'en'",
    "users.email_verified": "false", "users.is_active": "true", "users.marketing_opt_in": "false",
    "users.created_at": "CURRENT_TIMESTAMP", "users.updated_at": "CURRENT_TIMESTAMP",
    "profiles.is_kids": "false", "profiles.language": "'en'", "profiles.preferences": "'{}'",
    "profiles.created_at": "CURRENT_TIMESTAMP", "profiles.updated_at": "CURRENT_TIMESTAMP",
    "content.genres": "'{}'", "content.languages": "'{}'", "content.subtitles": "'{}'", "content.audio_tracks": "'[]'",
    "content.cast": "'[]'", "content.metadata": "'{}'", "content.availability": "'{}'",
    "content.monetization": "'svod'",
    "content.is_published": "false",
    "content.created_at": "CURRENT_TIMESTAMP", "content.updated_at": "CURRENT_TIMESTAMP",
    "watch_history.position": "0", "watch_history.duration": "0", "watch_history.completed": "false",
    "watch_history.watched_at": "CURRENT_TIMESTAMP",
    "clock_repairs.repaired_at": "clock_timestamp()",
    **{f"{table}.id": "uuid_generate_v4()" for table in COLUMNS if COLUMNS[table].startswith("id uuid")},
}  # fmt: skip
"""What a column takes when nothing is said."""

INDEXES = {
    "idx_users_email": "(email)",
    "idx_users_subscription": "(subscription_tier, subscription_status)",
    "idx_profiles_user_id": "(user_id)",
    "idx_content_type": "(type)",
    "idx_content_title_trgm": "gin (title gin_trgm_ops)",
    "idx_content_genres": "gin (genres)",
    "idx_content_published": "(is_published, published_at)",
    "idx_content_monetization": "(monetization)",
    "idx_watch_history_profile_id_watched_at": "(profile_id, watched_at DESC)",
    "idx_watch_history_content_id": "(content_id)",
    "idx_watch_history_profile_id_completed": "(profile_id, completed)",
    "idx_epg_events_channel_id_start_time_end_time": "(channel_id, start_time, end_time)",
    "idx_playback_events_received_at": "brin (received_at)",
    "idx_ad_campaign_hours_hour": "(hour)",
    "idx_clock_repairs_occurred_at": "(occurred_at)",
    "idx_clock_repairs_repaired_at": "(repaired_at)",
}

CONSTRAINTS = {
    "users": ["UNIQUE (email)", "UNIQUE (username)"],
    "profiles": ["FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE"],
    "seasons": ["UNIQUE (series_id, season_number)",
                "FOREIGN KEY (series_id) REFERENCES content(id) ON DELETE CASCADE"],
    "episodes": [
        "UNIQUE (season_id, episode_number)",
        "FOREIGN KEY (season_id) REFERENCES seasons(id) ON DELETE CASCADE",
        "FOREIGN KEY (content_id) REFERENCES content(id) ON DELETE CASCADE",
    ],
    "watch_history": [
        "UNIQUE (profile_id, content_id)",
        "FOREIGN KEY (profile_id) REFERENCES profiles(id) ON DELETE CASCADE",
        "FOREIGN KEY (content_id) REFERENCES content(id) ON DELETE CASCADE",
    ],
    "watchlist": ["UNIQUE (profile_id, content_id)", "FOREIGN KEY (profile_id) REFERENCES profiles(id)",
                  "FOREIGN KEY (content_id) REFERENCES content(id)"],
    "ratings": ["UNIQUE (profile_id, content_id)", "FOREIGN KEY (profile_id) REFERENCES profiles(id)",
                "FOREIGN KEY (content_id) REFERENCES content(id)", "CHECK (((rating >= 1) AND (rating <= 5)))"],
    "transactions": ["FOREIGN KEY (user_id) REFERENCES users(id)", "FOREIGN KEY (content_id) REFERENCES content(id)",
                     "FOREIGN KEY (subscription_plan_id) REFERENCES subscription_plans(id)"],
    "live_channels": ["UNIQUE (channel_number)", "FOREIGN KEY (content_id) REFERENCES content(id)"],
    "epg_events": ["CHECK ((end_time > start_time))", "FOREIGN KEY (channel_id) REFERENCES live_channels(id)",
                   "FOREIGN KEY (content_id) REFERENCES content(id)"],
    "content_hotness": ["PRIMARY KEY (content_id)", "FOREIGN KEY (content_id) REFERENCES content(id)"],
    "playback_events": ["PRIMARY KEY (occurred_at, event_id)"],
    "ad_impressions": ["PRIMARY KEY (impression_id)"],
    "ad_campaign_hours": ["PRIMARY KEY (campaign_id, hour)"],
    "ad_campaign_prices": ["PRIMARY KEY (campaign_id, from_hour)"],
    "ad_frequencies": ["PRIMARY KEY (campaign_id, profile_id, day)"],
    "content_views_hourly": ["PRIMARY KEY (content_id, hour)"],
    "watch_history_waiting": ["PRIMARY KEY (profile_id, content_id)"],
    "view_firsts": ["PRIMARY KEY (session_id, content_id)"],
    "ingest_registration": ["PRIMARY KEY (reader)"],
    "ingest_positions": ["PRIMARY KEY (reader, incarnation)"],
    "clock_repairs": ["PRIMARY KEY (event_id, raw_occurred_at)"],
    **{table: ["PRIMARY KEY (id)"] for table in ("subscription_plans", "ad_campaigns", "admin_users", "audit_logs")},
}  # fmt: skip
"""Beginnings of what pg_get_constraintdef says."""

FUNCTIONS = ["update_updated_at_column", "update_content_hotness", "ensure_month_partition", "uuid_generate_v4"]
TRIGGERS = ["users", "profiles", "content"]  # on which updated_at moves
WITHOUT_FOREIGN_KEYS = [
    "playback_events", "ad_impressions", "content_views_hourly", "view_firsts", "watch_history_waiting",
    "clock_repairs", "ad_campaign_hours", "ad_campaign_prices", "ad_frequencies", "ad_campaign_stale",
]  # fmt: skip
POPULARITY = ["unique_viewers", "total_views", "completion_rate", "average_rating", "watchlist_count"]
