// Starts the app in the page, on the real SDK.
import {
  type MeetingAccess,
  type MeetingOptions,
  Meeting,
  createMeeting,
  getGuestAccess,
  getHostAccess,
  missingFeatures,
} from "@darktower/media";
import { mount } from "svelte";
import App from "./App.svelte";
import "./app/theme.css";
import { texts } from "./texts";

document.documentElement.lang = texts.lang;
document.documentElement.dir = texts.dir;

const target = document.getElementById("app");
if (target === null) throw new Error("index.html has an element with the id app");

mount(App, {
  target,
  props: {
    backend: {
      createMeeting,
      getGuestAccess,
      getHostAccess,
      openMeeting: (access: MeetingAccess, options: MeetingOptions) => new Meeting(access, options),
      supported: () => missingFeatures().length === 0,
    },
  },
});
