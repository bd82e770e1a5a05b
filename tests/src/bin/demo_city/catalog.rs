//! The city's names: dependencias with what was counted of each, colonias, streets, channels.
//!
//! The counts are those of the city's own statistical report; the generator keeps their proportions.

use manzana_engine::ids::CatalogId;
use manzana_engine::record::CatalogRef;
use serde_json::{Value, json};

/// A dependencia: name; pendientes, desarrollo, atendidos, no procede.
pub(crate) struct Agency {
    pub(crate) name: &'static str,
    pub(crate) counts: [u32; 4],
}

const fn agency(name: &'static str, counts: [u32; 4]) -> Agency {
    Agency { name, counts }
}

/// All of them; the id is the place, from 1.
pub(crate) const AGENCIES: [Agency; 24] = [
    agency("Dirección de Alumbrado Publico", [761, 1, 14426, 2]),
    agency("Maquinaria Pesada", [955, 1, 3807, 134]),
    agency("Dirección de Ornatos", [852, 0, 2071, 141]),
    agency("Servicios Municipales", [910, 0, 1861, 255]),
    agency("Dirección de Obras Públicas", [329, 0, 430, 2]),
    agency("Dirección de Limpia Publica", [5, 0, 646, 27]),
    agency("Dirección de Desarrollo Urbano", [100, 0, 458, 17]),
    agency("CMAS - Agua Potable", [290, 0, 14, 8]),
    agency("CMAS - Alcantarillado y Saneamiento", [255, 1, 4, 1]),
    agency("Protección y Control Animal", [6, 0, 198, 34]),
    agency("Transito Estatal", [17, 0, 43, 48]),
    agency("Coordinación de Atención Ciudadana", [0, 0, 90, 0]),
    agency("Dirección de Protección Civil", [1, 0, 31, 6]),
    agency("Dirección de Comercio", [0, 0, 34, 0]),
    agency("Secretaría de Gobernación", [0, 0, 25, 1]),
    agency("Presidencia Municipal", [0, 0, 24, 0]),
    agency("Dirección de Ingresos", [0, 0, 20, 3]),
    agency(
        "Dirección de Fomento Agropecuario, Medio Ambiente y Desarrollo Sustentable",
        [11, 0, 1, 0],
    ),
    agency("Dirección de Gobernación", [0, 0, 10, 2]),
    agency("Secretaría de Obras Públicas", [3, 0, 7, 2]),
    agency("CMAS - Facturación", [8, 0, 0, 0]),
    agency("CMAS - Control de Usuarios", [8, 0, 0, 0]),
    agency("CAEV", [0, 0, 0, 0]),
    agency("NO APLICA", [0, 0, 0, 0]),
];

/// Colonias; the id is the place, from 1.
pub(crate) const NEIGHBORHOODS: [&str; 30] = [
    "COL. CENTRO",
    "COL. IQUIISA",
    "COL. PETROLERA",
    "COL. ADOLFO LÓPEZ MATEOS",
    "FRA. CIUDAD OLMECA",
    "COL. MARIA DE LA PIEDAD",
    "COL. PUERTO MEXICO",
    "COL. BENITO JUAREZ NORTE",
    "COL. BENITO JUAREZ SUR",
    "COL. FRANCISCO VILLA",
    "COL. PLAYA SOL",
    "COL. PARAISO",
    "COL. RAFAEL HERNANDEZ OCHOA",
    "COL. SANTA ISABEL",
    "COL. VERACRUZ",
    "COL. TRANSPORTISTAS",
    "COL. MANUEL AVILA CAMACHO",
    "COL. NUEVA OBRERA",
    "COL. TERESA MORALES",
    "COL. CONSTITUYENTES",
    "COL. 20 DE NOVIEMBRE",
    "COL. EL TESORO",
    "COL. DIVINA PROVIDENCIA",
    "COL. LOMAS DE BARRILLAS",
    "COL. ESFUERZO DE LOS HERMANOS DEL TRABAJO",
    "COL. EMILIANO ZAPATA",
    "COL. VILLA ALLENDE",
    "FRA. LAS GAVIOTAS",
    "FRA. LAS PALMAS",
    "FRA. SANTA MARTHA",
];

/// Streets as people write them: accents come and go, and so do letters.
pub(crate) const STREETS: [&str; 40] = [
    "JUVENTINO ROSAS",
    "MELCHOR OCAMPO",
    "INDEPENDENCIA",
    "CUAUHTEMOC",
    "18 DE MARZO",
    "JUAN DE LA BARRERA",
    "CHABACANO",
    "ALAMO",
    "NUEVO LEON",
    "MEXICO",
    "MICHOACAN",
    "IGNACIO ZARAGOZA",
    "AV. HIDALGO",
    "MALECON COSTERO",
    "QUEVEDO",
    "CORREGIDORA",
    "REVOLUCION",
    "JOHN SPARK",
    "ROMAN MARIN",
    "BENITO JUAREZ",
    "ALDAMA",
    "ALLENDE",
    "BELISARIO DOMINGUEZ",
    "FRANCISCO H SANTOS",
    "PEDRO MORENO",
    "GUTIERREZ ZAMORA",
    "16 DE SEPTIEMBRE",
    "NICOLAS BRAVO",
    "MIGUEL ANGEL DE QUEVEDO",
    "AV. UNIVERSIDAD",
    "TRANSISTMICA",
    "JALISCO",
    "OAXACA",
    "PUEBLA",
    "YUCATAN",
    "PASCUAL OROZCO",
    "LAZARO CARDENAS",
    "LAS PALMAS",
    "SANTOS DEGOLLADO",
    "GENERAL ANAYA",
];

/// Modos de captura as the city writes them, with how often each is used.
pub(crate) const CHANNELS: [(&str, u32); 7] = [
    ("Redes Sociales", 26),
    ("Via Web", 8),
    // Rare but in bursts: a captain comes back with a whole afternoon.
    (CAPTAINS, 7),
    ("Via Ventanilla", 14),
    ("Vía Telefónica", 16),
    ("Vía WhatsApp", 4),
    ("Vía Correo electrónico", 2),
];

/// The channel of the block captains.
pub(crate) const CAPTAINS: &str = "Via Jefes de Manzana";

/// Tipos de petición.
pub(crate) const KINDS: [&str; 4] = ["Solicitud de servicio", "Queja", "Denuncia", "Información"];

/// The catalog entry of this name in a list whose ids are the places from 1.
pub(crate) fn reference<'n>(names: impl IntoIterator<Item = &'n str>, name: &str) -> CatalogRef {
    let place = names.into_iter().position(|each| each == name);
    CatalogRef::new(id(place.unwrap_or_default()), name)
}

/// The id of the entry at this place.
pub(crate) fn id(place: usize) -> CatalogId {
    CatalogId::try_from(place + 1).unwrap_or(CatalogId::MAX)
}

/// A dependencia by its name.
pub(crate) fn agency_named(name: &str) -> CatalogRef {
    reference(AGENCIES.iter().map(|agency| agency.name), name)
}

/// What `manzana catalog` imports.
pub(crate) fn catalogs() -> Value {
    let list = |names: Vec<&str>| -> Vec<Value> {
        let entry = |(place, name): (usize, &str)| json!({ "id": id(place), "name": name });
        names.into_iter().enumerate().map(entry).collect()
    };
    json!({
        "agencies": list(AGENCIES.iter().map(|agency| agency.name).collect()),
        "neighborhoods": list(NEIGHBORHOODS.to_vec()),
    })
}
