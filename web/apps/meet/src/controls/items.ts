// What a menu lists.
import type { Component } from "svelte";

export interface Item {
  readonly label: string;
  readonly icon: Component<{ size?: number }>;
  readonly testid: string;
  readonly danger?: boolean;
  readonly act: () => void;
}
