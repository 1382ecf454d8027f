// Asks edgecam to do or to check something; ``why`` is empty if it did, else a line to show.
export async function ask(path, body) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers: { "X-Edgecam": "1" }, body });
  } catch {
    return { ok: false, why: "No connection to edgecam: nothing was done." };
  }
  return { ok: answer.ok, why: answer.ok ? "" : (await answer.text()).trim() };
}
