-- Roles, their grants, and the users that have them. Every server runs this at its first start; again changes nothing.
-- node/apply_access.py fills in names and salted hashes. Users that exist keep their passwords: the rotation changes those.

-- Makes and drops tables (migrations, staging, leases), inserts, deletes by mutation, attaches partitions.
CREATE ROLE IF NOT EXISTS h3_loader;
GRANT CLUSTER ON *.* TO h3_loader;
GRANT CREATE DATABASE ON @database@.* TO h3_loader;
GRANT SELECT, INSERT, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, ALTER DELETE, ALTER MODIFY COMMENT
    ON @database@.* TO h3_loader;
-- Several shards: what reads all of them (docs/scaling.md).
GRANT REMOTE ON *.* TO h3_loader;
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, SELECT, INSERT ON @everywhere@.* TO h3_loader;
GRANT SELECT ON system.clusters TO h3_loader;
GRANT SELECT ON system.columns TO h3_loader;
GRANT SELECT ON system.tables TO h3_loader;
GRANT SELECT ON system.parts TO h3_loader;
GRANT CREATE TEMPORARY TABLE, S3 ON *.* TO h3_loader;
GRANT NAMED COLLECTION ON trips_bucket TO h3_loader;

-- Reads the tables and views: people and dashboards.
CREATE ROLE IF NOT EXISTS h3_reader;
GRANT SELECT, SHOW ON @database@.* TO h3_reader;
GRANT SELECT, SHOW ON @everywhere@.* TO h3_reader;
CREATE QUOTA IF NOT EXISTS h3_reader KEYED BY user_name
    FOR INTERVAL 1 minute MAX queries = 1200, execution_time = 1200 TO h3_reader;

-- Takes and restores backups, and tries a restore in a database beside; publishes nothing meanwhile, hence the lease.
CREATE ROLE IF NOT EXISTS h3_backup;
GRANT CLUSTER ON *.* TO h3_backup;
GRANT BACKUP, SELECT, INSERT, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, ALTER MODIFY COMMENT
    ON @database@.* TO h3_backup;
GRANT CREATE DATABASE, DROP DATABASE, BACKUP, SELECT, INSERT, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, ALTER DELETE,
    ALTER MODIFY COMMENT, SYSTEM MERGES ON @scratch@.* TO h3_backup;
GRANT SELECT ON system.backups TO h3_backup;
GRANT SELECT ON system.columns TO h3_backup;
GRANT SELECT ON system.databases TO h3_backup;
GRANT SELECT ON system.parts TO h3_backup;
GRANT SELECT ON system.tables TO h3_backup;
GRANT CREATE TEMPORARY TABLE, S3 ON *.* TO h3_backup;
GRANT NAMED COLLECTION ON trips_bucket TO h3_backup;

-- Changes the passwords of these four users and of nobody else.
CREATE ROLE IF NOT EXISTS h3_rotator;
GRANT ALTER USER ON loader TO h3_rotator;
GRANT ALTER USER ON reader TO h3_rotator;
GRANT ALTER USER ON backup TO h3_rotator;
GRANT ALTER USER ON rotator TO h3_rotator;

CREATE USER IF NOT EXISTS loader IDENTIFIED WITH sha256_hash BY '@loader_hash@' SALT '@loader_salt@' SETTINGS PROFILE 'loader';
CREATE USER IF NOT EXISTS reader IDENTIFIED WITH sha256_hash BY '@reader_hash@' SALT '@reader_salt@' SETTINGS PROFILE 'reader';
CREATE USER IF NOT EXISTS backup IDENTIFIED WITH sha256_hash BY '@backup_hash@' SALT '@backup_salt@' SETTINGS PROFILE 'backup';
CREATE USER IF NOT EXISTS rotator IDENTIFIED WITH sha256_hash BY '@rotator_hash@' SALT '@rotator_salt@' SETTINGS PROFILE 'operator';

-- The pipeline's tasks have one login, for loading and for the scheduled backups. `backup` is for a person's restore.
GRANT h3_loader, h3_backup TO loader;
GRANT h3_reader TO reader;
GRANT h3_backup TO backup;
GRANT h3_rotator TO rotator;
