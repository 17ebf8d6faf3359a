import { bots, browser, open, url } from "/work/main/web/apps/meet/harness/browser.mjs";
try {
  const a = await open(800,600,"dark"); await a.goto(url);
  await a.getByTestId("new-meeting").click(); await a.getByTestId("name").fill("Ana"); await a.getByTestId("join").click(); await a.getByTestId("alone").waitFor();
  const b = await open(800,600,"dark"); await b.goto(a.url()); await b.getByTestId("name").fill("Bo"); await b.getByTestId("join").click();
  await b.waitForFunction(() => document.querySelectorAll("canvas:not(.hidden)").length > 0);
  const dump = async (tag) => {
    const sa = await a.evaluate(async () => { const s = await darkTower.meeting.stats(); return JSON.stringify(s.outgoing.filter(o=>o.kind==='camera').map(o=>[o.active,o.muted,o.frames,o.fps,o.width,o.droppedFrames])) });
    const sb = await b.evaluate(async () => { const s = await darkTower.meeting.stats(); return JSON.stringify([s.video.map(o=>[o.kind,o.frames,o.drawn,o.fps,o.lost,o.decodeErrors,o.keyframeRequests]), s.discarded]) });
    console.log(tag, sa, sb, await a.evaluate(() => dbg.clone.readyState + " " + dbg.clone.muted + " " + dbg.clone.enabled + " locked " + dbg.readable.locked));
  };
  await b.waitForTimeout(500);
  await a.getByTestId("camera-toggle").click(); await b.waitForFunction(() => document.querySelectorAll("canvas").length === 0);
  await a.getByTestId("camera-toggle").click();
  for (let i=0;i<4;i++) { await b.waitForTimeout(1500); await dump("on"+i); }
} finally { await browser.close(); }
