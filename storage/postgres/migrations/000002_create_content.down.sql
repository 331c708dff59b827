DROP TABLE episodes;
DROP TABLE seasons;
DROP TABLE content;
