import { parseUser } from '../user.js';
import { fieldWords } from '../words.js';
import { byId, onSubmit, setError } from './dom.js';

/** Creates the view of the user form. Callbacks: onChoose(user), onRefuse(error). */
export function createUserView({ onChoose, onRefuse }) {
  const input = byId('user-id');
  let shown = null;

  onSubmit(byId('user-form'), () => {
    const { user, error } = parseUser(input.value);
    if (error) onRefuse(error);
    else onChoose(user);
  });

  return {
    update({ user, userError }) {
      setError(byId('user-id-error'), userError && fieldWords('user', userError), input);
      byId('welcome').hidden = user !== null;
      byId('shop').hidden = user === null;
      if (user !== shown) input.value = user ?? '';
      shown = user;
    },
  };
}
