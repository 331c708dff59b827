-- What was published stays in force in every gateway until it is published anew.
DROP TABLE write_keys;
