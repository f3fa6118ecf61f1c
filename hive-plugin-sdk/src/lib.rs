//! Write agents as sandboxed WebAssembly plugins.
