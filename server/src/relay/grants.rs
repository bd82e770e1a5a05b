//! Grants that are given again.

use manzana_engine::grant::{GrantBody, Role, SignedGrant};
use manzana_engine::ids::DeviceId;
use manzana_engine::keys::SecretKey;

use super::{DAY_MS, GRANT_DAYS, RelayError};
use crate::storage::{RelayStore, StorageError};

/// Gives a device a grant again, whether the one it has was revoked, has expired, or not: of the same
/// scopes, in the role that its user has now. It learns of it when it comes next.
///
/// # Errors
/// The storage's; `Missing` when there is no such device, or its user may not have one.
pub async fn renew(
    store: &dyn RelayStore,
    root: &SecretKey,
    device: &DeviceId,
    now: i64,
) -> Result<(), RelayError> {
    let record = store.device(device).await?;
    let record = record.filter(|record| record.desk_seed.is_none());
    let mut record = record.ok_or(StorageError::Missing)?;
    let user = store.users(&[record.user]).await?.remove(&record.user);
    let user = user.filter(|user| !user.disabled);
    let user = user.ok_or(StorageError::Missing)?;
    let granted = record.grant.open(&root.public());
    let granted = granted.map_err(|_| StorageError::Damaged)?;
    let body = GrantBody {
        role: Role::parse(&user.role).ok_or(RelayError::NoRole)?,
        valid_to: now + GRANT_DAYS * DAY_MS,
        ..granted
    };
    record.grant = SignedGrant::sign(&body, root);
    record.grant_id = record.grant.id();
    record.revoked_at = None;
    Ok(store.put_device(&record).await?)
}
