/** Svelte reads this file; the defaults of version 5 are what we want. */
export default { compilerOptions: { runes: true } };
