// Svelte is compiled in runes mode everywhere.
export default {
  compilerOptions: { runes: true },
};
