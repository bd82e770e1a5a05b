//! Inputs that broke a promise once, each with what it found. Those of today found faults that were
//! planted to see that the targets look; whoever finds another adds it here.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use data_encoding::HEXLOWER;
use manzana_fuzz::TARGETS;
use manzana_fuzz::meter::Cost;

/// Target and input.
const KEPT: &[(&str, &str)] = &[
    // Operations of a document not looked at: Automerge panics on a value's length, or saves too few.
    ("documents", "f01876a8a3011f2004a6eded62757a2d27"),
    ("documents", "2bb15b82934059de5d6f1fd9a0843871f24daa9c3d24"),
    (
        "documents",
        "d4a671b8648518f2c2adaf3791ff60d7228c4413a69553626484bd8798f2d7eeb1920c28724aa7a015e79bc7cfbbd33c72f90f2c1fe78a7d5daa4c",
    ),
    (
        "documents",
        "115bf1be5e4a4dc3457a0ab8e55f8482526ae2982c192a9bd7f64445a04f0a3201e40f3e7b5600ff74bd02711cbe6d26dfbffe03f29a1b43215d6789f1162d0c3618a1bd7b06",
    ),
    (
        "documents",
        "76770fb13af2de01b3501740b0e683f3285adf332fdf7024a120c326bc5d6de8cf29f4988b5bf3e87c5826f1b1d00ac09049690e0e3ae62c3087baeb282c302d8c84cd36b81407a89bb4adb3f38c5d32ee0cc0944b42",
    ),
    // A change that does not begin at the counter after its dependencies: it comes back altered.
    ("gate", "c359db4847d9212430"),
    ("gate", "c530acca2980b5b969"),
    ("gate", "da6d3f2d97e91b471de4"),
];

#[test]
fn inputs_that_broke_a_promise_once_break_none() {
    for (name, input) in KEPT {
        let target = TARGETS.into_iter().find(|target| target.name == *name);
        let input = HEXLOWER.decode(input.as_bytes()).unwrap();
        let (target, mut cost) = (target.unwrap(), Cost::default());
        // The samples are made with the first input.
        cost.run(target, &[]);
        assert!(Cost::default().run(target, &input), "{name}");
    }
}
