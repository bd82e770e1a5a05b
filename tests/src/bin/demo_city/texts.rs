//! What people write: subjects, descriptions, comments, names, and the ways they misspell them.

use super::dice::Dice;

/// One kind of problem: the subjects it is called by, the service, and how it is told.
pub(crate) struct Problem {
    pub(crate) titles: &'static [&'static str],
    pub(crate) service: &'static str,
    told: &'static [&'static str],
}

const fn problem(
    titles: &'static [&'static str],
    service: &'static str,
    told: &'static [&'static str],
) -> Problem {
    Problem {
        titles,
        service,
        told,
    }
}

const LIGHT: &[Problem] = &[
    problem(
        &[
            "LAMPARA FUNDIDA",
            "LUMINARIA FUNDIDA",
            "LAMPARAS APAGADAS",
            "FALTA DE ALUMBRADO",
            "LUMINARIA APAGADA",
        ],
        "Luminaria apagada",
        &[
            "Desde hace {n} días no prende la lámpara que está frente al número de la casa y la calle queda muy oscura.",
            "Son {n} luminarias seguidas sin luz, los muchachos que salen de la escuela nocturna pasan con miedo.",
            "La lámpara se fundió después del norte y ya nadie vino a revisarla.",
        ],
    ),
    problem(
        &["LAMPARA ENCENDIDA DE DIA", "LUMINARIA PRENDIDA TODO EL DIA"],
        "Luminaria encendida de día",
        &[
            "La luminaria se queda prendida todo el día y de noche parpadea, parece falla de la fotocelda.",
        ],
    ),
    problem(
        &["POSTE DE LUZ INCLINADO", "POSTE A PUNTO DE CAER"],
        "Poste en mal estado",
        &[
            "El poste del alumbrado está inclinado y picado de la base por el salitre, con el viento se mueve mucho.",
        ],
    ),
];
const MACHINES: &[Problem] = &[
    problem(
        &[
            "REHABILITACION DE CALLE",
            "RASTREO DE CALLE",
            "CALLE EN MAL ESTADO",
            "REVESTIMIENTO DE CALLE",
        ],
        "Rehabilitación de calle",
        &[
            "La calle es de terracería y con las lluvias se hicieron zanjas, ya no entran los taxis ni la ambulancia.",
            "Pedimos que pase la motoconformadora, la última vez fue hace {n} meses.",
        ],
    ),
    problem(
        &["RETIRO DE ESCOMBRO", "RETIRO DE TIERRA"],
        "Retiro de escombro",
        &["Dejaron un montón de tierra y escombro de una obra que ya terminó y tapa media calle."],
    ),
    problem(
        &["DESAZOLVE DE CANAL", "LIMPIEZA DE CANAL A CIELO ABIERTO"],
        "Desazolve de canal",
        &[
            "El canal está lleno de lirio y basura, cuando llueve el agua se mete a {n} casas de la cuadra.",
        ],
    ),
];
const GARDENS: &[Problem] = &[
    problem(
        &["PODA DE ARBOL", "DERRIBO DE ARBOL", "ARBOL SECO"],
        "Poda y derribo",
        &[
            "Las ramas del almendro ya tocan los cables de la luz y cuando hay norte sacan chispas.",
            "El árbol está seco y se está ladeando hacia la casa de una persona mayor.",
        ],
    ),
    problem(
        &[
            "CHAPEO DE AREA VERDE",
            "LIMPIEZA DE PARQUE",
            "MONTE CRECIDO EN CAMELLON",
        ],
        "Chapeo y limpieza de áreas verdes",
        &["El monte del parque ya mide más de un metro, hay moscos y salieron {n} culebras."],
    ),
];
const SERVICES: &[Problem] = &[
    problem(
        &[
            "REPARACION DE CALLE",
            "BACHEO",
            "BACHE PELIGROSO",
            "HUNDIMIENTO DE CALLE",
        ],
        "Bacheo",
        &[
            "Hay un bache muy grande a media calle, ya se cayeron {n} motociclistas esta semana.",
            "El pavimento se hundió donde arreglaron una fuga y cada día se hace más hondo.",
        ],
    ),
    problem(
        &["REJILLA ROTA", "ALCANTARILLA SIN TAPA"],
        "Rejillas y tapas",
        &[
            "Se robaron la rejilla del registro y los vecinos pusieron una llanta para que nadie se caiga.",
        ],
    ),
    problem(
        &["PINTURA DE GUARNICIONES", "PINTADO DE TOPE"],
        "Balizamiento",
        &[
            "El tope ya no se ve de noche porque se despintó, los carros pasan a toda velocidad frente al kinder.",
        ],
    ),
];
const WORKS: &[Problem] = &[
    problem(
        &[
            "PAVIMENTACION DE CALLE",
            "CONSTRUCCION DE BANQUETA",
            "GUARNICIONES Y BANQUETAS",
        ],
        "Pavimentación",
        &[
            "Los vecinos solicitamos la pavimentación, ya juntamos {n} firmas y tenemos drenaje nuevo.",
        ],
    ),
    problem(
        &["ESCALINATA DAÑADA", "MURO DE CONTENCION"],
        "Obra menor",
        &[
            "El muro tiene grietas y con la lluvia de anoche se desprendió un pedazo sobre el andador.",
        ],
    ),
];
const WASTE: &[Problem] = &[
    problem(
        &["NO PASA LA BASURA", "CAMION DE BASURA NO PASA"],
        "Recolección",
        &["El camión de la basura tiene {n} días sin pasar y los perros ya rompieron las bolsas."],
    ),
    problem(
        &["BASURERO CLANDESTINO", "TIRADERO DE BASURA"],
        "Tiradero clandestino",
        &[
            "En el terreno baldío vienen a tirar llantas y muebles en la noche, el olor es insoportable.",
        ],
    ),
];
const URBAN: &[Problem] = &[problem(
    &[
        "OBRA SIN PERMISO",
        "INVASION DE BANQUETA",
        "NOMENCLATURA DE CALLE",
    ],
    "Inspección",
    &[
        "Están construyendo sobre la banqueta y las personas tienen que bajarse al arroyo de la calle.",
    ],
)];
const WATER: &[Problem] = &[problem(
    &["FUGA DE AGUA", "FALTA DE AGUA", "BAJA PRESION DE AGUA"],
    "Fuga de agua potable",
    &[
        "Hay una fuga de agua limpia desde hace {n} días, ya se hizo un charco de lado a lado.",
        "Llevamos {n} días sin agua y el recibo llega puntual.",
    ],
)];
const SEWER: &[Problem] = &[problem(
    &[
        "COLADERA TAPADA",
        "DRENAJE TAPADO",
        "AGUAS NEGRAS EN LA CALLE",
    ],
    "Desazolve de drenaje",
    &[
        "La coladera está tapada y las aguas negras salen a la calle, hay niños enfermos del estómago.",
    ],
)];
const ANIMALS: &[Problem] = &[problem(
    &[
        "PERROS EN LA CALLE",
        "PERRO AGRESIVO",
        "ANIMAL MUERTO EN VIA PUBLICA",
    ],
    "Control animal",
    &["Hay una jauría de {n} perros que ya mordió a un repartidor, piden que vengan a recogerlos."],
)];
const TRAFFIC: &[Problem] = &[problem(
    &[
        "SEMAFORO DESCOMPUESTO",
        "SOLICITUD DE TOPE",
        "AUTO ABANDONADO",
    ],
    "Vialidad",
    &[
        "El semáforo se queda en rojo de los dos lados, en la mañana se hace una fila de {n} cuadras.",
    ],
)];
const OTHER: &[Problem] = &[problem(
    &[
        "SOLICITUD DE INFORMACION",
        "SOLICITUD DE APOYO",
        "QUEJA POR RUIDO",
    ],
    "Atención general",
    &[
        "Pide que le informen a dónde debe acudir y qué documentos tiene que llevar, ya fue {n} veces.",
    ],
)];

/// The problems of the dependencia at this place of the catalog.
pub(crate) fn problems(agency: usize) -> &'static [Problem] {
    match agency {
        0 => LIGHT,
        1 => MACHINES,
        2 => GARDENS,
        3 => SERVICES,
        4 | 19 => WORKS,
        5 => WASTE,
        6 => URBAN,
        7 => WATER,
        8 => SEWER,
        9 => ANIMALS,
        10 => TRAFFIC,
        _ => OTHER,
    }
}

const ASKED: [&str; 8] = [
    "Ya se había reportado antes y no tuvimos respuesta.",
    "Por la tarde casi siempre hay alguien en casa para recibir a la cuadrilla.",
    "Se agradece de antemano la atención.",
    "Es una calle de mucho paso porque cerca está la primaria.",
    "El vecino de enfrente puede dar más referencias.",
    "Urge porque hay personas mayores que ya no pueden salir.",
    "La referencia es una tienda de abarrotes pintada de verde.",
    "Los vecinos están dispuestos a cooperar con la mano de obra.",
];

pub(crate) const OPERATOR_COMMENTS: [&str; 8] = [
    "Se llamó al ciudadano para confirmar la dirección; contestó y dio más referencias.",
    "Volvió a llamar para preguntar por su reporte. Se le informó el avance.",
    "Se agregó la referencia que faltaba: portón negro, junto a la papelería.",
    "El ciudadano pide que le avisen por WhatsApp cuando vaya la cuadrilla.",
    "Se envió oficio a la dependencia para darle seguimiento.",
    "No contesta el teléfono, se intentará mañana por la mañana.",
    "Reporte repetido por redes sociales, se contestó con este mismo folio.",
    "Agradece la atención del personal.",
];
pub(crate) const CREW_COMMENTS: [&str; 7] = [
    "Se acudió al lugar, hace falta escalera de 9 metros.",
    "Se dejó señalado con cinta, mañana se termina.",
    "El vecino nos dio paso por su patio.",
    "Se cambió el foco y la fotocelda, quedó trabajando.",
    "Se hizo el trabajo con dos viajes de material.",
    "Con la lluvia no se pudo terminar, regresamos el lunes.",
    "Quedó limpio, se retiró la basura.",
];
pub(crate) const NOT_APPLICABLE: [&str; 6] = [
    "El domicilio está fuera del municipio.",
    "Es un predio particular, corresponde al propietario.",
    "La reparación corresponde a la Comisión Federal de Electricidad.",
    "Se visitó dos veces y no se encontró el problema.",
    "Ya hay una obra autorizada en esa calle.",
    "Los datos no alcanzan para localizar el lugar.",
];
pub(crate) const NOT_YET: [&str; 4] = [
    "Falta material: no hay balastras en almacén.",
    "No se localizó el domicilio.",
    "Acceso impedido por vehículos estacionados.",
    "La máquina está en reparación.",
];
pub(crate) const DONE_NOTES: [&str; 5] = [
    "Trabajo terminado, el vecino quedó conforme.",
    "Se reparó y se probó.",
    "Terminado en la segunda visita.",
    "Se atendió con la cuadrilla de la tarde.",
    "Se dio solución.",
];

const GIVEN: [&str; 28] = [
    "MARIA GUADALUPE",
    "JOSE LUIS",
    "ROSA ELENA",
    "JUAN CARLOS",
    "ANA LAURA",
    "MIGUEL ANGEL",
    "YOLANDA",
    "FRANCISCO JAVIER",
    "MARTHA",
    "JESUS",
    "LETICIA",
    "PEDRO",
    "GUADALUPE",
    "CARMELA",
    "RAMON",
    "ESTHER",
    "VICTOR MANUEL",
    "SILVIA",
    "ARTURO",
    "NORMA",
    "HECTOR",
    "CLARA LUZ",
    "DAGOBERTO",
    "IRMA",
    "OSCAR",
    "BERTHA ALICIA",
    "TOMAS",
    "ELVIRA",
];
const FAMILY: [&str; 30] = [
    "HERNANDEZ",
    "GARCIA",
    "MARTINEZ",
    "LOPEZ",
    "CRUZ",
    "PEREZ",
    "SANTOS",
    "MORALES",
    "JIMENEZ",
    "TOLEDO",
    "RAMIREZ",
    "GOMEZ",
    "VAZQUEZ",
    "SANCHEZ",
    "ALOR",
    "REYES",
    "DOMINGUEZ",
    "CORDOVA",
    "SALAZAR",
    "ZAMUDIO",
    "AQUINO",
    "ANTONIO",
    "BAUTISTA",
    "CHABLE",
    "OSORIO",
    "PINEDA",
    "RUEDA",
    "ULLOA",
    "VIDAL",
    "ESCUDERO",
];

/// A name with one or two surnames, now and then misspelt.
pub(crate) fn name(dice: &mut Dice) -> String {
    let mut words = vec![*dice.pick(&GIVEN), *dice.pick(&FAMILY)];
    if dice.percent(85) {
        words.push(*dice.pick(&FAMILY));
    }
    let name = words.join(" ");
    if dice.percent(12) {
        misspelt(&name, dice)
    } else {
        name
    }
}

/// A subject as it gets typed: capitals, mostly without accents, sometimes misspelt.
pub(crate) fn title(problem: &Problem, dice: &mut Dice) -> String {
    let title = *dice.pick(problem.titles);
    if dice.percent(10) {
        misspelt(title, dice)
    } else {
        title.to_owned()
    }
}

/// A description of one to four sentences.
pub(crate) fn description(problem: &Problem, dice: &mut Dice) -> String {
    let n = 2 + dice.below(9);
    let mut sentences = vec![dice.pick(problem.told).replace("{n}", &n.to_string())];
    for _ in 0..=dice.below(3) {
        let more = *dice.pick(&ASKED);
        if !sentences.iter().any(|sentence| sentence == more) {
            sentences.push(more.to_owned());
        }
    }
    let mut text = sentences.join(" ");
    if dice.percent(30) {
        text = misspelt(&text, dice);
    }
    if dice.percent(25) {
        text.to_uppercase()
    } else {
        text
    }
}

/// The misspellings of the city's own records: accents lost, b for v, s for z and c, no h.
pub(crate) fn misspelt(text: &str, dice: &mut Dice) -> String {
    const SWAPS: [(&str, &str); 9] = [
        ("V", "B"),
        ("Z", "S"),
        ("LL", "Y"),
        ("H", ""),
        ("v", "b"),
        ("z", "s"),
        ("qu", "k"),
        ("h", ""),
        ("cion", "sion"),
    ];
    let bare = text
        .replace(['á', 'Á'], "a")
        .replace('é', "e")
        .replace('í', "i")
        .replace('ó', "o");
    let (from, to) = *dice.pick(&SWAPS);
    bare.replacen(from, to, 1 + dice.below(2))
}
