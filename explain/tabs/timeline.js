// Moves the timeline, the clip and the chosen frame together. Gradio runs this once for the timeline's component:
// `element` is its place in the page, `trigger` calls the Python listener of that name.
const video = () => document.querySelector('#lens-player video');
const line = () => element.querySelector('.lens-timeline');
const state = () => JSON.parse(line().dataset.state);
let sent = 0;

function nearest(times, t) {
  let best = 0;
  times.forEach((u, i) => { if (Math.abs(u - t) < Math.abs(times[best] - t)) best = i; });
  return best;
}
function choose(index, playing) {
  const s = state();
  index = Math.max(0, Math.min(s.t.length - 1, index));
  // While playing, a new frame at most every 0.7 s; standing still, each frame once and in full.
  const d = line().dataset;
  if (playing ? index === Number(d.chosen) || Date.now() - sent < 700 : index === Number(d.full)) return;
  sent = Date.now();
  d.chosen = index;
  d.full = playing ? -1 : index;
  line().setAttribute('aria-valuenow', index);
  line().setAttribute('aria-valuetext', s.texts[index]);
  element.querySelector('.lens-chosen').style.left = (100 * s.t[index] / s.end) + '%';
  element.querySelector('.lens-now').textContent = s.texts[index];
  trigger('select', {index: index, playing: playing});
}
function seek(index) {
  const s = state(), v = video();
  index = Math.max(0, Math.min(s.t.length - 1, index));
  if (v && v.readyState > 0) { v.pause(); v.currentTime = s.t[index] + 0.001; }
  choose(index, false);
}
element.addEventListener('click', e => {
  const plot = e.target.closest('.lens-plot');
  if (!plot) return;
  const box = plot.getBoundingClientRect(), s = state();
  seek(nearest(s.t, (e.clientX - box.left) / box.width * s.end));
});
element.addEventListener('keydown', e => {
  if (!line() || !line().contains(e.target)) return;
  const now = Number(line().dataset.chosen), last = state().t.length - 1;
  const to = {ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: last}[e.key];
  if (to === undefined) return;
  e.preventDefault();
  seek(to);
});
// Media events don't bubble, but can be caught on their way down.
const from = e => line() && e.target === video();
document.addEventListener('timeupdate', e => {
  if (!from(e)) return;
  const s = state(), v = video();
  element.querySelector('.lens-head').style.left = Math.min(100, 100 * v.currentTime / s.end) + '%';
  if (!v.paused && !v.seeking) choose(nearest(s.t, v.currentTime), true);
}, true);
const settle = e => {
  if (!from(e) || !video().paused) return;
  choose(nearest(state().t, video().currentTime), false);
};
// A fresh clip stands at the chosen frame.
document.addEventListener('loadedmetadata', e => {
  if (from(e)) video().currentTime = state().t[Number(line().dataset.chosen)] + 0.001;
}, true);
document.addEventListener('seeked', settle, true);
document.addEventListener('pause', settle, true);
document.addEventListener('error', e => {
  if (e.target.closest && e.target.closest('#lens-player')) {
    e.target.hidden = true;
    document.querySelector('#lens-player .lens-unplayable').hidden = false;
  }
}, true);
