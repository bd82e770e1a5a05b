//! Grants: what a device may do, signed by the city and verifiable with no network.

use minicbor::{Decode, Encode};

use crate::codec;
use crate::ids::{CatalogId, CityId, GrantId, Hash, UserId};
use crate::keys::{self, BadSignature, Purpose, SecretKey};

/// The roles of domain §1. Only the first four may author petitions today; the others read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Reports for a block (jefe de manzana).
    #[n(0)]
    BlockCaptain,
    /// Carries out and closes (cuadrilla).
    #[n(1)]
    Crew,
    /// Works the call centre's console (operador).
    #[n(2)]
    Operator,
    /// Decides final states (supervisor).
    #[n(3)]
    Supervisor,
    /// Accepts or proposes to re-refer for an agency (enlace).
    #[n(4)]
    AgencyDesk,
    /// Looks after the captains of a sector (coordinador).
    #[n(5)]
    Coordinator,
    /// Reads everything, writes nothing (auditor).
    #[n(6)]
    Auditor,
    /// Keeps the catalogs and users (administrador).
    #[n(7)]
    Administrator,
    /// Reports for themselves (ciudadano).
    #[n(8)]
    Citizen,
}

impl Role {
    /// The name used in files, flags and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlockCaptain => "block_captain",
            Self::Crew => "crew",
            Self::Operator => "operator",
            Self::Supervisor => "supervisor",
            Self::AgencyDesk => "agency_desk",
            Self::Coordinator => "coordinator",
            Self::Auditor => "auditor",
            Self::Administrator => "administrator",
            Self::Citizen => "citizen",
        }
    }

    /// Reads [`Role::as_str`] back.
    pub fn parse(text: &str) -> Option<Self> {
        use Role::*;
        [
            BlockCaptain,
            Crew,
            Operator,
            Supervisor,
            AgencyDesk,
            Coordinator,
            Auditor,
            Administrator,
            Citizen,
        ]
        .into_iter()
        .find(|role| role.as_str() == text)
    }
}

/// A set of documents that a device may hold: the unit of membership, packs and digests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every petition of the city.
    City,
    /// The catalogs.
    Catalog,
    /// What this user captured.
    Author(UserId),
    /// What was captured in this block.
    Block(CatalogId),
    /// What was captured in this sector.
    Sector(CatalogId),
    /// What is with this agency.
    Agency(CatalogId),
    /// What is assigned to this crew.
    Crew(CatalogId),
}

impl core::fmt::Display for Scope {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::City => f.write_str("city"),
            Self::Catalog => f.write_str("catalog"),
            Self::Author(id) => write!(f, "author:{id}"),
            Self::Block(id) => write!(f, "block:{id}"),
            Self::Sector(id) => write!(f, "sector:{id}"),
            Self::Agency(id) => write!(f, "agency:{id}"),
            Self::Crew(id) => write!(f, "crew:{id}"),
        }
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a scope: use city, catalog, author:N, block:N, sector:N, agency:N or crew:N")]
pub struct ScopeError;

impl core::str::FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let (kind, id) = text.split_once(':').unwrap_or((text, ""));
        let catalog = || id.parse::<CatalogId>().map_err(|_| ScopeError);
        match kind {
            "city" if id.is_empty() => Ok(Self::City),
            "catalog" if id.is_empty() => Ok(Self::Catalog),
            "author" => id.parse().map(Self::Author).map_err(|_| ScopeError),
            "block" => catalog().map(Self::Block),
            "sector" => catalog().map(Self::Sector),
            "agency" => catalog().map(Self::Agency),
            "crew" => catalog().map(Self::Crew),
            _ => Err(ScopeError),
        }
    }
}

impl<C> Encode<C> for Scope {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.to_string())?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Scope {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = d.position();
        d.str()?
            .parse()
            .map_err(|_| minicbor::decode::Error::message("not a scope").at(at))
    }
}

/// What the city grants to one device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GrantBody {
    /// The city.
    #[n(0)]
    pub city: CityId,
    /// The device's public key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub device_key: [u8; 32],
    /// The person.
    #[n(2)]
    pub user: UserId,
    /// In which role they act.
    #[n(3)]
    pub role: Role,
    /// What they may hold; writing asks for one of these too.
    #[n(4)]
    pub scopes: Vec<Scope>,
    /// First valid city time, milliseconds UTC; also the earliest date a petition may claim.
    #[n(5)]
    pub valid_from: i64,
    /// Last valid city time, milliseconds UTC.
    #[n(6)]
    pub valid_to: i64,
}

/// A grant body with the root's signature over its exact bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedGrant {
    /// The encoded [`GrantBody`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub body: Vec<u8>,
    /// The root's signature.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// Why a grant is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// The root did not sign these bytes.
    #[error("the grant's signature does not verify")]
    BadSignature,
    /// The body is not a grant.
    #[error("the grant is malformed")]
    Malformed,
    /// It is another city's.
    #[error("the grant belongs to another city")]
    WrongCity,
}

impl SignedGrant {
    /// Signs a grant with the city's root.
    pub fn sign(body: &GrantBody, root: &SecretKey) -> Self {
        let body = codec::encode(body);
        let signature = root.sign(Purpose::Grant, &body);
        Self { body, signature }
    }

    /// The grant's id.
    pub fn id(&self) -> GrantId {
        let hash = Hash::of_parts(b"manzana/grant-id/1", &[&self.body]);
        let mut id = [0; 16];
        id.copy_from_slice(&hash.0[..16]);
        GrantId(id)
    }

    /// Checks signature and city, and reads the body.
    pub fn open(&self, root: &[u8; 32]) -> Result<GrantBody, GrantError> {
        keys::verify(root, Purpose::Grant, &self.body, &self.signature)
            .map_err(|BadSignature| GrantError::BadSignature)?;
        let body: GrantBody = codec::decode(&self.body).map_err(|_| GrantError::Malformed)?;
        if body.city != CityId::of_root(root) {
            return Err(GrantError::WrongCity);
        }
        Ok(body)
    }
}
