//! The device runtime: a replica that syncs by itself over WebSockets
#![forbid(unsafe_code)]
