() => {
  // The explanation of a term beside it, for pointer, keyboard and touch; Escape takes it away. The browser's own way of
  // showing a title takes a pointer that waits.
  if (document.getElementById('lens-tip')) return;
  const tip = document.createElement('div');
  tip.id = 'lens-tip';
  tip.role = 'tooltip';
  tip.hidden = true;
  document.querySelector('.gradio-container').append(tip);
  let shown = null;  // the term that is explained
  const hide = () => { tip.hidden = true; shown = null; };
  const place = () => {
    if (!shown) return;
    const word = shown.getBoundingClientRect(), own = tip.getBoundingClientRect(), edge = 8;
    const below = word.bottom + own.height + edge < innerHeight;
    tip.style.left = Math.max(edge, Math.min(word.left, innerWidth - own.width - edge)) + 'px';
    tip.style.top = (below ? word.bottom + 4 : Math.max(edge, word.top - own.height - 4)) + 'px';
  };
  const termOf = event => event.target.closest && event.target.closest('.lens-term');
  const show = event => {
    const term = termOf(event);
    if (!term) return;
    if (term.title) {
      term.dataset.says = term.title;
      term.removeAttribute('title');
    }
    shown = term;
    tip.textContent = term.dataset.says;
    tip.hidden = false;
    term.setAttribute('aria-describedby', tip.id);
    place();
  };
  for (const name of ['focusin', 'mouseover']) document.addEventListener(name, show);
  for (const name of ['focusout', 'mouseout']) document.addEventListener(name, event => { if (termOf(event)) hide(); });
  document.addEventListener('scroll', place, true);
  document.addEventListener('keydown', event => { if (event.key === 'Escape') hide(); });
}
