'use strict';
(() => {
  const table = document.getElementById('list');
  if (!table) return;
  const found = document.getElementById('found'), words = document.getElementById('words');
  const action = document.getElementById('action'), unfold = document.getElementById('unfold');
  const heads = [...table.tHead.rows[0].cells];
  const plays = [...table.tBodies].map((body, order) => {
    const cells = [...body.rows[0].cells];
    return {body, order, cells, seconds: Number(body.dataset.s), action: cells[4].textContent, bars: [], shown: true};
  });
  const byId = new Map(plays.map(play => [play.body.id, play]));
  for (const link of document.querySelectorAll('.bands a')) byId.get(link.getAttribute('href').slice(1))?.bars.push(link);

  const clock = seconds => {
    const whole = Math.round(seconds), two = n => String(n).padStart(2, '0');
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    return (hours ? hours + ':' + two(minutes) : minutes) + ':' + two(whole % 60);
  };

  // ---- finding

  // Accents and case make no difference.
  const folded = text => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
  let sorted = '';
  const tell = () => {
    const shown = plays.filter(play => play.shown), all = plays.length.toLocaleString('en') + (plays.length === 1 ? ' play' : ' plays');
    const heard = clock(shown.reduce((sum, play) => sum + play.seconds, 0));
    found.textContent = (shown.length < plays.length ? shown.length.toLocaleString('en') + ' of ' + all + ', heard for ' + heard : all) + sorted;
  };
  const find = () => {
    const asked = folded(words.value).split(/\s+/).filter(Boolean);
    for (const play of plays) {
      if (asked.length) play.text ??= folded(play.cells.map(cell => cell.textContent).join(' '));
      const shown = (!action.value || play.action === action.value) && asked.every(word => play.text.includes(word));
      if (shown === play.shown) continue;
      play.shown = shown;
      play.body.hidden = !shown;
      for (const bar of play.bars) bar.classList.toggle('off', !shown);
    }
    tell();
  };
  words.addEventListener('input', find);
  action.addEventListener('change', find);

  // ---- sorting

  const collator = new Intl.Collator(undefined, {numeric: true, sensitivity: 'base'});
  const kinds = {
    order: play => play.order,
    number: (play, column) => parseFloat(play.cells[column].dataset.v),
    text: (play, column) => (play.cells[column].querySelector('bdi') ?? play.cells[column]).textContent.trim(),
  };
  const sort = column => {
    const head = heads[column], kind = head.dataset.sort, down = head.getAttribute('aria-sort') === 'ascending';
    const keyed = plays.map(play => ({play, key: kinds[kind](play, column)}));
    const none = key => key === '' || Number.isNaN(key);
    keyed.sort((a, b) => {
      // What is not known comes last, whichever way; equals stay in the order of time.
      if (none(a.key) || none(b.key)) return none(a.key) - none(b.key) || a.play.order - b.play.order;
      const difference = kind === 'text' ? collator.compare(a.key, b.key) : a.key - b.key;
      return (down ? -difference : difference) || a.play.order - b.play.order;
    });
    const all = document.createDocumentFragment();
    for (const {play} of keyed) all.append(play.body);
    table.append(all);
    for (const other of heads) other.setAttribute('aria-sort', other === head ? (down ? 'descending' : 'ascending') : 'none');
    sorted = ', sorted by “' + head.textContent + '”' + (down ? ', downwards' : '');
    tell();
  };
  heads.forEach((head, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = head.textContent;
    button.addEventListener('click', () => sort(column));
    head.replaceChildren(button);
    head.setAttribute('aria-sort', column ? 'none' : 'ascending');
  });

  // ---- unfolding

  const proofs = [...table.querySelectorAll('details')];
  unfold.hidden = !proofs.length;
  unfold.addEventListener('click', () => {
    const open = unfold.getAttribute('aria-pressed') !== 'true';
    unfold.setAttribute('aria-pressed', open);
    for (const proof of proofs) proof.open = open;
  });
  // What the address or a bar of the timeline points to is shown, with its evidence.
  const reveal = () => {
    const play = byId.get(location.hash.slice(1));
    if (!play) return;
    if (!play.shown) {
      words.value = action.value = '';
      find();
    }
    const proof = play.body.querySelector('details');
    if (proof) proof.open = true;
    play.body.scrollIntoView({block: 'center'});
  };
  addEventListener('hashchange', reveal);
  // One sound at a time: the two are compared.
  document.addEventListener('play', event => {
    for (const other of document.querySelectorAll('audio')) if (other !== event.target) other.pause();
  }, true);

  document.getElementById('finder').hidden = false;
  tell();
  reveal();
})();
