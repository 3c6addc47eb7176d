// Draws a face's box and evidence maps on the playing clip, on a canvas of the player's size. One script with
// timeline.js, which names the timeline `line` and the clip `video`.
const switched = () => document.querySelector('#lens-player .lens-layer-on input');
let drawn = false, known = '', layer = {frames: [], reach: 0};

function layerNow() {
  const told = line().dataset.layer || '';
  if (told !== known) {
    known = told;
    layer = told ? JSON.parse(told) : {frames: [], reach: 0};
    for (const frame of layer.frames) if (frame.heat) {
      frame.picture = new Image();
      frame.picture.onload = drawLayer;
      frame.picture.src = frame.heat;
    }
  }
  return layer;
}
function drawLayer() {
  const v = video(), canvas = document.querySelector('#lens-player canvas');
  if (!v || !canvas || !line()) return;
  const ratio = window.devicePixelRatio || 1, ink = canvas.getContext('2d');
  canvas.width = v.clientWidth * ratio;  // which empties it, too
  canvas.height = v.clientHeight * ratio;
  if (!drawn || !v.videoWidth) return;
  const {frames, reach} = layerNow(), i = nearest(frames.map(f => f.t), v.currentTime), frame = frames[i];
  if (!frame || Math.abs(frame.t - v.currentTime) > reach) return;
  // The clip lies in the middle of its player, black beside it.
  const scale = Math.min(canvas.width / v.videoWidth, canvas.height / v.videoHeight);
  const width = scale * v.videoWidth, height = scale * v.videoHeight;
  const left = (canvas.width - width) / 2, top = (canvas.height - height) / 2;
  ink.beginPath();
  ink.rect(left, top, width, height);
  ink.clip();
  if (frame.picture && frame.picture.complete) {
    const [a, b, c, d, e, f] = frame.place;
    ink.setTransform(a * width, b * height, c * width, d * height, left + e * width, top + f * height);
    ink.drawImage(frame.picture, 0, 0, 1, 1);
    ink.resetTransform();
  }
  const [x0, y0, x1, y1] = frame.box;
  for (const [colour, thick] of [['#000', 5], ['#fff', 2]]) {
    ink.strokeStyle = colour;
    ink.lineWidth = thick * ratio;
    ink.strokeRect(left + x0 * width, top + y0 * height, (x1 - x0) * width, (y1 - y0) * height);
  }
}
function follow() {
  drawLayer();
  if (drawn && video() && !video().paused) requestAnimationFrame(follow);
}

document.addEventListener('change', e => {
  if (e.target !== switched()) return;
  drawn = e.target.checked;
  follow();
});
for (const name of ['play', 'pause', 'seeked', 'loadeddata']) document.addEventListener(name, e => {
  if (e.target !== video()) return;
  switched().checked = drawn;  // a fresh player
  follow();
}, true);
addEventListener('resize', drawLayer);
