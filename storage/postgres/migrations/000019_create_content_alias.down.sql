DROP TABLE content_alias;
