// Moves the timeline, the clip and the chosen frame together. Gradio runs this once, for a hidden component whose value
// is the choice: `props` is the component, `trigger` calls the Python listener of that name. The choice is handed over
// as a value and not with the event, because Gradio repeats an event that had to wait with the data it first came with.
const line = () => document.querySelector('#lens-line .lens-timeline');
const video = () => document.querySelector('#lens-player video');
const state = () => JSON.parse(line().dataset.state);
let sent = 0;

function nearest(times, t) {
  let best = 0;
  times.forEach((u, i) => { if (Math.abs(u - t) < Math.abs(times[best] - t)) best = i; });
  return best;
}
function choose(index, playing) {
  const s = state(), d = line().dataset;
  index = Math.max(0, Math.min(s.t.length - 1, index));
  // While playing, a new frame at most every 0.7 s; standing still, each frame once and in full.
  if (playing ? index === Number(d.chosen) || Date.now() - sent < 700 : index === Number(d.full)) return;
  sent = Date.now();
  d.chosen = index;
  d.full = playing ? -1 : index;
  line().setAttribute('aria-valuenow', index);
  line().setAttribute('aria-valuetext', s.texts[index]);
  line().querySelector('.lens-chosen').style.left = (100 * s.t[index] / s.end) + '%';
  document.querySelector('#lens-line .lens-now').textContent = s.texts[index];
  props.value = JSON.stringify({index: index, playing: playing});
  trigger('select');
}
function seek(index) {
  const s = state(), v = video();
  index = Math.max(0, Math.min(s.t.length - 1, index));
  if (v && v.readyState > 0) { v.pause(); v.currentTime = s.t[index] + 0.001; }
  choose(index, false);
}

document.addEventListener('click', e => {
  const plot = e.target.closest('#lens-line .lens-plot');
  if (!plot) return;
  const box = plot.getBoundingClientRect(), s = state();
  seek(nearest(s.t, (e.clientX - box.left) / box.width * s.end));
});
document.addEventListener('keydown', e => {
  if (!line() || e.target !== line()) return;
  const now = Number(line().dataset.chosen), last = state().t.length - 1;
  const to = {ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: last}[e.key];
  if (to === undefined) return;
  e.preventDefault();
  seek(to);
});

// Media events don't bubble, but can be caught on their way down.
const ours = e => line() && e.target === video();
document.addEventListener('loadedmetadata', e => {
  if (ours(e)) video().currentTime = state().t[Number(line().dataset.chosen)] + 0.001;  // a fresh clip
}, true);
document.addEventListener('timeupdate', e => {
  if (!ours(e)) return;
  const s = state(), v = video();
  line().querySelector('.lens-head').style.left = Math.min(100, 100 * v.currentTime / s.end) + '%';
  if (!v.paused && !v.seeking) choose(nearest(s.t, v.currentTime), true);
}, true);
for (const name of ['seeked', 'pause', 'ended']) document.addEventListener(name, e => {
  if (ours(e) && video().paused) choose(nearest(state().t, video().currentTime), false);
}, true);
document.addEventListener('error', e => {
  if (!e.target.closest || !e.target.closest('#lens-player')) return;
  e.target.hidden = true;
  document.querySelector('#lens-player .lens-unplayable').hidden = false;
}, true);
