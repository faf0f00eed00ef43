'use strict';
// The server says when something has changed; then the page is fetched again. Without a script, it is loaded again.
const stale = document.getElementById('stale');
let busy = false, again = false;
async function update() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    const answer = await fetch(location.href, {headers: {Accept: 'text/html'}});
    if (!answer.ok && answer.status !== 503) throw new Error(answer.status);
    const next = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const typing = document.activeElement && document.activeElement.matches('input');
    if (!typing) document.querySelector('main').replaceWith(next.querySelector('main'));
    document.title = next.title;
    stale.hidden = true;
  } catch (error) {
    stale.hidden = false;
  }
  busy = false;
  if (again) { again = false; update(); }
}
function listen() {
  const source = new EventSource('/changes');
  source.onmessage = update;
  source.onopen = update;
  source.onerror = () => {
    stale.hidden = false;
    // After an answer other than 200, such as a proxy's while the server starts again, a browser does not try again.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
}
listen();
