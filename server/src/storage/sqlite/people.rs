//! Devices, users, invites, sessions, idempotency keys and settings.

use std::collections::BTreeMap;

use manzana_engine::grant::SignedGrant;
use manzana_engine::ids::{DeviceId, GrantId, Hash, IdError, RecordId, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::{ActKey, DeviceRecord, Invite, Result, SessionRow, StorageError, UserRow};
use super::convert::{cbor, id, int, taken, to_cbor, uint};

const DEVICE: &str = "SELECT device, key, user, grant_body, grant_signature, grant_id, revoked_at,
                             desk_seed FROM devices";
const USER: &str = "SELECT id, name, display, role, password_hash, disabled FROM users";

fn array<const N: usize>(bytes: &[u8]) -> std::result::Result<[u8; N], IdError> {
    bytes.try_into().map_err(|_| IdError)
}

fn device_row(row: &Row<'_>) -> rusqlite::Result<DeviceRecord> {
    let has_seed = row.get_ref(7)? != rusqlite::types::ValueRef::Null;
    Ok(DeviceRecord {
        id: id(row, 0, DeviceId::from_slice)?,
        key: id(row, 1, array)?,
        user: uint(row, 2)?,
        grant: SignedGrant {
            body: row.get(3)?,
            signature: id(row, 4, array)?,
        },
        grant_id: id(row, 5, GrantId::from_slice)?,
        revoked_at: row.get(6)?,
        desk_seed: has_seed.then(|| id(row, 7, array)).transpose()?,
    })
}

pub(super) fn device(conn: &Connection, device: &DeviceId) -> Result<Option<DeviceRecord>> {
    Ok(conn
        .prepare_cached(&format!("{DEVICE} WHERE device = ?1"))?
        .query_row([device.as_bytes()], device_row)
        .optional()?)
}

/// All devices.
pub(super) fn devices(conn: &Connection) -> Result<Vec<DeviceRecord>> {
    let mut statement = conn.prepare_cached(DEVICE)?;
    let devices = statement.query_map([], device_row)?;
    Ok(devices.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn desk_of(conn: &Connection, user: UserId) -> Result<Option<DeviceRecord>> {
    let newest = "WHERE user = ?1 AND desk_seed IS NOT NULL AND revoked_at IS NULL
                  ORDER BY rowid DESC LIMIT 1";
    Ok(conn
        .prepare_cached(&format!("{DEVICE} {newest}"))?
        .query_row([int(user)], device_row)
        .optional()?)
}

pub(super) fn put_device(conn: &Connection, device: &DeviceRecord) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO devices (device, tag, key, user, grant_body, grant_signature, grant_id,
                              revoked_at, desk_seed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (device) DO UPDATE SET
             key = excluded.key, user = excluded.user, grant_body = excluded.grant_body,
             grant_signature = excluded.grant_signature, grant_id = excluded.grant_id,
             revoked_at = excluded.revoked_at, desk_seed = excluded.desk_seed",
    )?
    .execute(params![
        device.id.as_bytes(),
        device.id.tag(),
        device.key,
        int(device.user),
        device.grant.body,
        device.grant.signature,
        device.grant_id.as_bytes(),
        device.revoked_at,
        device.desk_seed,
    ])
    .map_err(taken)?;
    Ok(())
}

/// The first revocation counts.
pub(super) fn revoke_device(conn: &Connection, device: &DeviceId, at: i64) -> Result<()> {
    let found = conn
        .prepare_cached(
            "UPDATE devices SET revoked_at = coalesce(revoked_at, ?2) WHERE device = ?1",
        )?
        .execute(params![device.as_bytes(), at])?;
    found_one(found)
}

fn found_one(rows: usize) -> Result<()> {
    match rows {
        0 => Err(StorageError::Missing),
        _ => Ok(()),
    }
}

pub(super) fn put_invite(conn: &Connection, invite: &Invite) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO invites (code_hash, user, scopes, block, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        invite.code_hash.as_bytes(),
        int(invite.user),
        to_cbor(&invite.scopes),
        invite.block,
        invite.expires,
    ])
    .map_err(taken)?;
    Ok(())
}

pub(super) fn take_invite(conn: &Connection, code_hash: &Hash, now: i64) -> Result<Invite> {
    let invite = conn
        .prepare_cached(
            "DELETE FROM invites WHERE code_hash = ?1 AND expires >= ?2
             RETURNING code_hash, user, scopes, block, expires",
        )?
        .query_row(params![code_hash.as_bytes(), now], |row| {
            Ok(Invite {
                code_hash: id(row, 0, Hash::from_slice)?,
                user: uint(row, 1)?,
                scopes: cbor(row, 2)?,
                block: row.get(3)?,
                expires: row.get(4)?,
            })
        })
        .optional()?;
    invite.ok_or(StorageError::Missing)
}

fn user_row(row: &Row<'_>) -> rusqlite::Result<UserRow> {
    Ok(UserRow {
        id: uint(row, 0)?,
        name: row.get(1)?,
        display: row.get(2)?,
        role: row.get(3)?,
        password_hash: row.get(4)?,
        disabled: row.get(5)?,
    })
}

pub(super) fn add_user(conn: &Connection, user: &UserRow) -> Result<UserId> {
    conn.prepare_cached(
        "INSERT INTO users (name, display, role, password_hash, disabled)
         VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id",
    )?
    .query_row(
        params![
            user.name,
            user.display,
            user.role,
            user.password_hash,
            user.disabled
        ],
        |row| uint(row, 0),
    )
    .map_err(taken)
}

pub(super) fn user_by_name(conn: &Connection, name: &str) -> Result<Option<UserRow>> {
    Ok(conn
        .prepare_cached(&format!("{USER} WHERE name = ?1"))?
        .query_row([name], user_row)
        .optional()?)
}

pub(super) fn users(conn: &Connection, ids: &[UserId]) -> Result<BTreeMap<UserId, UserRow>> {
    let mut statement = conn.prepare_cached(&format!("{USER} WHERE id = ?1"))?;
    let mut found = BTreeMap::new();
    for user in ids {
        let row = statement.query_row([int(*user)], user_row).optional()?;
        found.extend(row.map(|row| (*user, row)));
    }
    Ok(found)
}

pub(super) fn put_session(conn: &Connection, session: &SessionRow) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO sessions (token_hash, user, csrf, used_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (token_hash) DO UPDATE SET
             user = excluded.user, csrf = excluded.csrf, used_at = excluded.used_at",
    )?
    .execute(params![
        session.token_hash.as_bytes(),
        int(session.user),
        session.csrf,
        session.used_at
    ])?;
    Ok(())
}

pub(super) fn session(conn: &Connection, token_hash: &Hash) -> Result<Option<SessionRow>> {
    Ok(conn
        .prepare_cached(
            "SELECT token_hash, user, csrf, used_at FROM sessions WHERE token_hash = ?1",
        )?
        .query_row([token_hash.as_bytes()], |row| {
            Ok(SessionRow {
                token_hash: id(row, 0, Hash::from_slice)?,
                user: uint(row, 1)?,
                csrf: row.get(2)?,
                used_at: row.get(3)?,
            })
        })
        .optional()?)
}

pub(super) fn delete_session(conn: &Connection, token_hash: &Hash) -> Result<()> {
    conn.prepare_cached("DELETE FROM sessions WHERE token_hash = ?1")?
        .execute([token_hash.as_bytes()])?;
    Ok(())
}

pub(super) fn delete_sessions_before(conn: &Connection, used_at: i64) -> Result<()> {
    conn.prepare_cached("DELETE FROM sessions WHERE used_at < ?1")?
        .execute([used_at])?;
    Ok(())
}

pub(super) fn act_key(conn: &Connection, user: UserId, key: &str) -> Result<Option<RecordId>> {
    Ok(conn
        .prepare_cached("SELECT record FROM act_keys WHERE user = ?1 AND key = ?2")?
        .query_row(params![int(user), key], |row| {
            id(row, 0, RecordId::from_slice)
        })
        .optional()?)
}

pub(super) fn put_act_key(conn: &Connection, act: &ActKey) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO act_keys (user, key, record) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?
    .execute(params![int(act.user), act.key, act.record.as_bytes()])?;
    Ok(())
}

pub(super) fn setting(conn: &Connection, name: &str) -> Result<Option<Vec<u8>>> {
    Ok(conn
        .prepare_cached("SELECT value FROM settings WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?)
}

pub(super) fn put_setting(conn: &Connection, name: &str, value: &[u8]) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO settings (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![name, value])?;
    Ok(())
}
